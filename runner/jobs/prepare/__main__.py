"""`python -m prepare STEP`: one step of prepare.json, to its end or from where it stopped."""

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from .problem import AGAIN, Problem, from_os

CONFIG = Path("prepare.json")
MANIFEST = Path("output/dataset/manifest.json")
METRICS = Path("metrics.jsonl")
# what the work in hand was made with; under other settings it is begun anew
MADE_WITH = Path("work/made_with")


def _begin(config: dict[str, Any]) -> None:
    from .finish import FREE

    kept = {k: v for k, v in config.items() if k not in FREE and not k.startswith("slurm_")}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    if MADE_WITH.is_file() and MADE_WITH.read_text() == digest:
        return
    for folder in (Path(name) for name in ("work", "output", "removed", "set_aside")):
        for below in folder.iterdir() if folder.is_dir() else ():  # the folder itself may be a link to another disk
            shutil.rmtree(below) if below.is_dir() and not below.is_symlink() else below.unlink()
    MADE_WITH.parent.mkdir(parents=True, exist_ok=True)
    MADE_WITH.write_text(digest)


def _report(row: dict[str, Any]) -> None:
    with METRICS.open("a", encoding="utf-8") as out:
        out.write(json.dumps({**row, "time": round(time.time(), 3)}) + "\n")


def _run(step: str, config: dict[str, Any]) -> None:
    from .executor import run_stage
    from .ledger import refuse_nothing
    from .stages import DOCUMENTS, previous, stages_of

    earlier = sum(s.tasks for name in config["steps"][: config["steps"].index(step)] for s in stages_of(name, config))
    total = sum(s.tasks for name in config["steps"] for s in stages_of(name, config))
    for stage in stages_of(step, config):
        run_stage(
            stage.name,
            stage.make,
            stage.tasks,
            min(config["workers"], stage.tasks),
            config,
            lambda done, before=earlier: _report({"step": before + done, "max_steps": total}),
        )
        earlier += stage.tasks
    if step in DOCUMENTS:
        refuse_nothing(step, config)
    if step in DOCUMENTS[1:]:
        shutil.rmtree(previous(step, config), ignore_errors=True)  # the documents live on in this step's own


def _finish(config: dict[str, Any]) -> None:
    from .finish import clean, finish
    from .stages import splits_of

    if not MANIFEST.is_file():
        finish(config)
    manifest = json.loads(MANIFEST.read_text())
    tokens = sum(split["tokens"] for split in manifest["splits"].values())
    row = {
        "documents_read": manifest["steps"][0]["documents_in"],
        "documents": sum(split["documents"] for split in manifest["splits"].values()),
        "tokens": tokens,
        "tokens_per_s_per_core": _speed(config, splits_of(config)),
    }
    row |= {f"{name}_tokens": split["tokens"] for name, split in manifest["splits"].items()}
    _report(row)
    clean()
    for each in manifest["steps"]:
        gone = ", ".join(f"{n:,} {reason}" for reason, n in each["removed"].items())
        print(f"{each['step']}: {each['documents_in']:,} -> {each['documents_out']:,} documents {gone and f'({gone})'}")
    print(f"{row['documents']:,} documents, {tokens:,} tokens, {row['tokens_per_s_per_core']:,} tokens/s per core")


def _speed(config: dict[str, Any], splits: tuple[str, ...]) -> int:
    """Of tokenization alone, per second of processor time, over all attempts' completed tasks."""
    from .executor import stage_counts

    counts = [stage_counts(f"tokenize_{split}", config["tasks"])[1] for split in splits]
    seconds = sum(c.get("cpu_s", 0.0) for c in counts)
    return round(sum(c.get("tokens", 0) for c in counts) / seconds) if seconds else 0


def main() -> int:
    step = sys.argv[1]
    try:
        config = json.loads(CONFIG.read_text())
        _begin(config)
        if step == "finish":
            _finish(config)
        elif not MANIFEST.is_file():  # which is written last: then all is done, and what it was made from is gone
            _run(step, config)
    except Problem as problem:
        print(problem.lines(), file=sys.stderr)
        return 1
    except OSError as error:
        known = from_os(error, f"`{step}` wrote")
        if known is None:
            raise
        print(known.lines(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {AGAIN}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
