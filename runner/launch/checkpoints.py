"""Checkpoints of a run: which are whole, and what is done with those that are torn.

A process that is killed, a disk that is full and a machine that loses power leave a `checkpoint-N` that engines would
go on from all the same, for they take the newest by its number. Each file is looked at from outside, without torch: a
safetensors file says how long it is, what torch.save writes is a zip whose directory stands at its end.

`python -m runner.launch.checkpoints RUN` does what a start through the runner does first.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

PREFIX, TORN = "checkpoint-", "torn-"
STATE, LATEST = "trainer_state.json", "latest"
# what a rank of DeepSpeed writes: ZeRO's partitions by data-parallel rank, whole states by model-parallel rank
_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(?P<data>\d+)_mp_rank_(?P<model>\d+)_(?P<what>model|optim)_states\.pt")
_ZIPS = (".pt", ".pth", ".bin")
_WEIGHTS = (
    "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors", "pytorch_model.bin",
    "pytorch_model.bin.index.json", "adapter_model.bin", "pytorch_model_fsdp*", "global_step*",
)  # fmt: skip
_OPTIMIZER = ("optimizer.pt", "optimizer.bin", "optimizer_0", "global_step*")
_RANDOM = ("rng_state*.pth",)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`torn` says what is wrong with it, and is empty for a whole one."""

    path: Path
    step: int
    torn: str

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


def checkpoints(run: Path, *, weights_only: bool = False) -> list[Checkpoint]:
    """All of a run, newest first in each of its output folders. `weights_only` for a recipe with `save_only_model`,
    whose checkpoints have no optimizer."""
    pipeline = (run / "pipeline.json").is_file()
    found: list[Checkpoint] = []
    for output in _outputs(run):
        there = [(path, int(path.name.removeprefix(PREFIX))) for path in output.glob(f"{PREFIX}*") if _numbered(path)]
        usual: set[str] = set()
        judged = []
        for path, step in sorted(there, key=lambda each: each[1]):
            torn = _torn_pipeline(path) if pipeline else _torn_trainer(path, step, weights_only)
            named = _names(path, step)
            missing = sorted(usual - named)
            torn = torn or (f"no {missing[0]}, which the one before has" if missing else "")
            usual = usual if torn else named
            judged.append(Checkpoint(path, step, torn))
        found += reversed(judged)
    return found


def newest_whole(run: Path, *, weights_only: bool = False) -> Checkpoint | None:
    """What a run goes on from; of several stages the last that has one."""
    whole = [c for c in checkpoints(run, weights_only=weights_only) if not c.torn]
    return max(whole, key=lambda c: (c.path.parent.stat().st_mtime_ns, c.step), default=None)


def put_aside(run: Path, *, weights_only: bool = False) -> list[str]:
    """Rename torn checkpoints to `torn-checkpoint-N`, where no engine takes them for one, and remove those set aside
    before that a newer whole one has replaced. Returns a sentence for each thing done."""
    told = []
    for each in (found := checkpoints(run, weights_only=weights_only)):
        if each.torn:
            aside = _free(each.path.with_name(TORN + each.path.name))
            each.path.rename(aside)
            told.append(f"{each} is torn ({each.torn}): kept as {aside.name}, not gone on from")
    whole = [c for c in found if not c.torn]
    for output in _outputs(run):
        told += _name_latest(output, [c for c in whole if c.path.parent == output])
        told += _unfinish(output)
    return told + remove_replaced(run, whole)


def remove_replaced(run: Path, whole: list[Checkpoint], *, finished: bool = False) -> list[str]:
    """Of what was set aside, that which a whole checkpoint of the same step or a later one has replaced; all of it once
    the run has `finished`, and its model is there."""
    told = []
    for output in _outputs(run):
        best = max((c.step for c in whole if c.path.parent == output), default=-1)
        for aside in sorted(output.glob(f"{TORN}{PREFIX}*")):
            step = re.match(rf"{TORN}{PREFIX}(\d+)", aside.name)
            if finished or (step is not None and int(step[1]) <= best):
                shutil.rmtree(aside, ignore_errors=True)
                by = "the finished model" if finished else f"{PREFIX}{best}"
                told.append(f"{output.name}/{aside.name} is removed: {by} has replaced it")
    return told


def _outputs(run: Path) -> list[Path]:
    return sorted(
        {path.parent for path in run.glob(f"*/*{PREFIX}*")} | {path.parent for path in run.glob(f"*/{STATE}")}
    )


def _numbered(path: Path) -> bool:
    return path.is_dir() and path.name.removeprefix(PREFIX).isdigit()


def _free(path: Path) -> Path:
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in range(1, 1000))
    return next(name for name in names if not name.exists())


def _names(path: Path, step: int) -> set[str]:
    """What carries state in it, by names that are the same at every step."""
    kept = (*_ZIPS, ".safetensors")
    files = (file.relative_to(path) for file in path.rglob("*") if file.suffix in kept)
    return {str(file).replace(f"global_step{step}", "global_stepN") for file in files}


def _torn_trainer(path: Path, step: int, weights_only: bool) -> str:
    """Of transformers' Trainer, and so of Axolotl and TRL: the state is what it writes last."""
    state = _json(path / STATE)
    if not isinstance(state, dict):
        return f"{STATE} is not there" if state is None else f"{STATE} can't be read"
    if state.get("global_step") != step:
        return f"{STATE} is of step {state.get('global_step')}"
    wanted: list[tuple[str, tuple[str, ...]]] = [("weights", _WEIGHTS)]
    if not weights_only:
        wanted += [("optimizer", _OPTIMIZER), ("state of random numbers", _RANDOM)]
    for what, patterns in wanted:
        if not any(next(path.glob(pattern), None) for pattern in patterns):
            return f"it has no {what}"
    if (path / "optimizer.pt").exists() and not (path / "scheduler.pt").exists():
        return "it has no scheduler"
    return next(_torn_files(path), "") or _torn_index(path) or _torn_shards(path)


def _torn_pipeline(path: Path) -> str:
    """Of jobs/pipeline.py: DeepSpeed names it in `latest` after every rank has written its part."""
    if next(path.glob("mp_rank_*_model_states.pt"), None) is None:
        return "it has no state of the engine"
    if next(path.glob("layer_*_states.pt"), None) is None:
        return "it has no layers"
    latest = path.parent / LATEST
    named = latest.read_text().strip().removeprefix(PREFIX) if latest.is_file() else ""
    if named.isdigit() and int(named) < int(path.name.removeprefix(PREFIX)):
        return f"it was not finished: `latest` is {PREFIX}{named}"
    return next(_torn_files(path), "") or _torn_grid(path)


def _torn_files(path: Path) -> Iterator[str]:
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        if torn := torn_file(file):
            yield f"{file.relative_to(path)}: {torn}"


def _torn_index(path: Path) -> str:
    for index in path.glob("*.index.json"):
        named = set((_json(index) or {}).get("weight_map", {}).values())
        for name in sorted(name for name in named if not (path / str(name)).is_file()):
            return f"{name} is not there"
    return ""


def _torn_shards(path: Path) -> str:
    """DeepSpeed's folder within a trainer's checkpoint, named by `latest`."""
    if next(path.glob("global_step*"), None) is None:
        return ""
    latest = path / LATEST
    tag = latest.read_text().strip() if latest.is_file() else ""
    if not tag or not (path / tag).is_dir():
        return f"`{LATEST}` names no folder of it"
    if next((path / tag).glob("*_states.pt"), None) is None:
        return f"{tag} is empty"
    return _torn_grid(path / tag)


def _torn_grid(path: Path) -> str:
    """Every rank has left its part: data-parallel ranks times model-parallel ones."""
    shards: dict[str, set[tuple[int, int]]] = {}
    for found in (_SHARD.fullmatch(file.name) for file in path.iterdir()):
        if found:
            shards.setdefault(found["what"], set()).add((int(found["data"]), int(found["model"])))
    every = set().union(*shards.values())
    ranks = product(
        range(max((d for d, _ in every), default=-1) + 1), range(max((m for _, m in every), default=-1) + 1)
    )
    for data, model in ranks:
        for what in sorted(shards):
            if (data, model) not in shards[what]:
                return f"the {what} states of rank {data}, {model} are not there"
    return ""


def torn_file(file: Path) -> str:
    """What is wrong with one file; empty where nothing is, or where its kind says nothing of its length."""
    if file.suffix == ".safetensors":
        return _torn_safetensors(file)
    if file.suffix in _ZIPS:
        return _torn_zip(file)
    if file.suffix == ".json":
        return "can't be read" if _json(file) is False else ""
    return "is empty" if file.suffix == ".distcp" and not file.stat().st_size else ""


def _torn_safetensors(file: Path) -> str:
    """huggingface/safetensors' format: a header's length in 8 bytes, the header, and tensors to the last offset."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            return f"{size:,} bytes, cut off within its header"
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "its header can't be read"
    whole = 8 + length + max(ends, default=0)
    return "" if size == whole else f"{size:,} of {whole:,} bytes"


def _torn_zip(file: Path) -> str:
    """torch.save's: a zip's directory is its end, and names where each record begins."""
    try:
        with zipfile.ZipFile(file) as archive:
            for record in archive.infolist()[:1] + archive.infolist()[-1:]:
                archive.open(record).close()
    except (OSError, zipfile.BadZipFile, ValueError, EOFError):
        return f"{file.stat().st_size:,} bytes, cut off before its directory"
    return ""


def _json(file: Path) -> Any:
    """None where there is none, False where it can't be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return False


def _name_latest(output: Path, whole: list[Checkpoint]) -> list[str]:
    """A pipeline goes on from what `latest` names: of those that are there, the newest."""
    latest = output / LATEST
    best = max(whole, key=lambda c: c.step, default=None)
    named = latest.read_text(errors="replace").strip() if latest.is_file() else ""
    if not latest.is_file() or named == (best.path.name if best else None):
        return []
    if best is None:
        latest.unlink()
        return [f"`{LATEST}` named {named or 'nothing'}: there is no whole checkpoint"]
    draft = latest.with_name(f".{LATEST}")
    draft.write_text(best.path.name)
    draft.replace(latest)
    return [f"`{LATEST}` named {named or 'nothing'}, and now names {best.path.name}"]


def _unfinish(output: Path) -> list[str]:
    """A stage that is done leaves its state beside its model (jobs/trainer); with a torn model it is done again."""
    state = output / STATE
    torn = [file.name for file in sorted(output.glob("*.safetensors")) if torn_file(file)]
    if not torn or not state.is_file():
        return []
    with suppress(OSError):
        state.rename(_free(state.with_name(TORN + STATE)))
    return [f"{output.name}/{torn[0]} is torn: this stage ends again from its newest checkpoint"]


if __name__ == "__main__":
    for sentence in put_aside(Path(sys.argv[1])):
        print(sentence)
