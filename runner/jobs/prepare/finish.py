"""Token files to their place, everything counted and compared, and last of all the manifest."""

import errno
import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

from . import stdlib, tokenizer
from .decontaminate import COUNTS, FOLDER
from .executor import stage_counts
from .ledger import entries
from .manifest import FORMAT, describe_shard, reconcile, sha256, with_tokens, write_json
from .stages import Config, removing, splits_of

DATASET = Path("output/dataset")
PLACES = Path("work/places.json")
# these change how the work is done, and nothing of what comes out
FREE = ("workers", "executor")
PACKAGES = ("datatrove", "tokenizers", "datasets", "spacy", "numpy", "pyarrow")


def finish(config: Config) -> dict[str, Any]:
    """Raises Problem where the counts don't add up; then there is no manifest, and so no dataset."""
    from tokenizers import Tokenizer

    ledger = entries(config)
    counts = {split: _tokenized(split, config) for split in splits_of(config)}
    reconcile(ledger, sum(int(c["documents"]) for c in counts.values()))
    eos_token, eos = tokenizer.eos_of(tokenizer.FOLDER, config["eos_token"])
    size = Tokenizer.from_file(str(tokenizer.FOLDER / "tokenizer.json")).get_vocab_size()
    token_bytes = 2 if size <= 2**16 else 4
    placed = _place(config)
    splits = {}
    for split, names in placed.items():
        files = [describe_shard(DATASET, name, token_bytes, eos) for name in names]
        splits[split] = {
            "documents": sum(f["documents"] for f in files),
            "tokens": sum(f["tokens"] for f in files),
            "files": files,
        }
        told = {k: int(counts[split][k]) for k in ("documents", "tokens")}
        if told != {k: splits[split][k] for k in told}:
            raise _lost(split, told, splits[split])
    manifest = {
        "format": FORMAT,
        "token_bytes": token_bytes,
        "vocab_size": size,
        "eos_token": eos_token,
        "eos_token_id": eos,
        "seed": config["seed"],
        "splits": splits,
        "steps": with_tokens(ledger, sum(s["tokens"] for s in splits.values()), _removed(config)),
        "tokenizer": _tokenizer(config),
        "source": _source(config),
        "decontamination": json.loads((Path(FOLDER) / COUNTS).read_text()) if config["decontaminate"] else {},
        "settings": {k: v for k, v in config.items() if k not in FREE and not k.startswith("slurm_")},
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES},
    }
    write_json(DATASET / "manifest.json", manifest)
    return manifest


def _tokenized(split: str, config: Config) -> dict[str, float]:
    found = stage_counts(f"tokenize_{split}", config["tasks"])[1]
    return {key: found.get(key, 0) for key in ("documents", "tokens", "cpu_s")}


def _removed(config: Config) -> dict[str, dict[str, int]]:
    if not config["keep_removed"]:
        return {}
    found = {}
    for name in removing(config):
        counts = stage_counts(f"count_{name}", config["tasks"])[1]
        found[name] = {key: int(counts.get(key, 0)) for key in ("documents", "bytes", "tokens")}
    return found


def _lost(split: str, told: dict[str, int], found: dict[str, Any]) -> Exception:
    from .manifest import _unequal

    return _unequal(
        f"{told['documents']:,} documents of `{split}` were made into {told['tokens']:,} tokens, its files hold "
        f"{found['documents']:,} and {found['tokens']:,}"
    )


def _place(config: Config) -> dict[str, list[str]]:
    """Move the token files to output/dataset, numbered. What goes where is written down first, so that a move that was
    interrupted goes on."""
    if not PLACES.is_file():
        plan: dict[str, list[list[str]]] = {}
        for split in splits_of(config):
            found = sorted(f for f in Path("work/tokens", split).glob("*.ds") if f.stat().st_size)
            plan[split] = [[str(file), f"{split}/{i:05d}.ds"] for i, file in enumerate(found)]
        write_json(PLACES, plan)
    plan = json.loads(PLACES.read_text())
    for split, moves in plan.items():
        (DATASET / split).mkdir(parents=True, exist_ok=True)
        for source, name in moves:
            for ending in ("", ".index"):
                if Path(source + ending).is_file():
                    _move(Path(source + ending), DATASET / (name + ending))
    return {split: [name for _, name in moves] for split, moves in plan.items()}


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # `work` may be a link to another disk
            raise
        draft = target.with_name(f".{target.name}")
        shutil.copyfile(source, draft)
        draft.replace(target)
        source.unlink()


def _tokenizer(config: Config) -> dict[str, Any]:
    files = {f.name: sha256(f) for f in sorted(tokenizer.FOLDER.iterdir())}
    made = {"name": config["tokenizer"]} if config["tokenizer"] else {"trained": "byte-level BPE"}
    return {**made, "special_tokens": tokenizer.special_tokens(tokenizer.FOLDER), "files": files}


def _source(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": config["source_kind"], "name": config["source"]}
    found |= {k: config[k] for k in ("revision", "split") if config["source_kind"] == "hub" and config[k]}
    if config["source_kind"] == "stdlib":
        found["version"] = stdlib.version()
    aside = sorted(Path("set_aside").glob("*.jsonl"))
    found["set_aside"] = [json.loads(line)["reason"] for f in aside for line in f.read_text().splitlines()]
    return found


def clean() -> None:
    """What the dataset no longer needs. Its logs stay: they say what was done, and that it is."""
    for folder in ("documents", "tokens", "exact_dedup", "minhash_dedup"):
        shutil.rmtree(Path("work") / folder, ignore_errors=True)
