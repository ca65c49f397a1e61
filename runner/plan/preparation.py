"""A `prepare` recipe -> what it reads, the tokens that come out at most, the work and the disk that it takes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from runner.engines.datatrove import config
from runner.facts.boxes import Box
from runner.facts.read import read_facts
from runner.plan.datasets import Unsized, sources
from runner.project import shipped
from runner.recipe.resolve import Recipe

KIND = "prepare"
GIB = 2**30
# an id, a place and JSON's own marks beside each text in the files between two steps; measured on the standard library
STORED = 1.15


@dataclass(frozen=True, slots=True)
class Preparation:
    """Everything that is foreseen of one data preparation. Bytes are of UTF-8 text; None is not known without the
    network. `rows` are read, `documents` and `tokens` are left at most: what filters will remove is in the text.
    `core_hours` are of processor time, `hours` of `workers` side by side, neither with the network's. `disk_gib` is the
    most that lies there while it works, `dataset_gib` what stays."""

    recipe: str
    kind: str
    profile: str
    box: str
    workers: int
    rows: int | None
    documents: int | None
    text_bytes: int | None
    tokens: int | None
    token_bytes: int
    core_hours: float | None
    hours: float | None
    disk_gib: float | None
    dataset_gib: float | None
    fits: str
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}


@cache
def _facts() -> dict[str, Any]:
    return read_facts(shipped("data") / "preparation.yaml")


def plan_preparation(recipe: Recipe, box: Box | None = None) -> Preparation:
    """`box` instead of the recipe's own."""
    box = box or recipe.box
    values = config(recipe)
    workers = min(values["workers"], box.cores)
    token_bytes = 4 if (values["vocab_size"] or 0) > 2**16 else 2
    notes = ["rates are those of data/preparation.yaml, of one machine; the network's time is not in them"]
    read = _read(recipe, values, notes)
    if read is None:
        empty = (recipe.name, recipe.kind, recipe.profile, box.name, workers)
        return Preparation(*empty, None, None, None, None, token_bytes, None, None, None, None, "unknown", tuple(notes))
    rows, size = read
    share = values["sample_rate"] * (min(values["limit"], rows) / rows if values["limit"] and rows else 1.0)
    kept = round(size * share)
    tokens = round(kept / _bytes_per_token(values["vocab_size"]) + rows * share)
    work = size * (share / values["sample_rate"]) / _rate("read") + sum(kept / _rate(name) for name in _steps(values))
    removed = kept if values["keep_removed"] else 0
    passes = 2 if any(step.endswith("_dedup") or step == "decontaminate" for step in values["steps"]) else 1
    # token files are written once in the order of the documents, and once shuffled
    most = STORED * (passes * kept + removed) + tokens * token_bytes * 2
    disk_gib = most / GIB
    return Preparation(
        recipe=recipe.name,
        kind=recipe.kind,
        profile=recipe.profile,
        box=box.name,
        workers=workers,
        rows=min(values["limit"] or rows, rows),
        documents=max(round(rows * share), kept // (values["document_chars"] or kept + 1)),
        text_bytes=kept,
        tokens=tokens,
        token_bytes=token_bytes,
        core_hours=work / 3600,
        hours=work / 3600 / workers,
        disk_gib=disk_gib,
        dataset_gib=tokens * token_bytes / GIB,
        fits="no" if box.disk_gib and disk_gib > box.disk_gib else "yes",
        notes=tuple(notes),
    )


def _steps(values: dict[str, Any]) -> list[str]:
    found = [name for name in ("c4_quality", "fineweb_quality") if values[name]]
    found += ["gopher"] if values["gopher_quality"] or values["gopher_repetition"] else []
    found += [name for name in ("exact_dedup", "minhash_dedup", "decontaminate") if name in values["steps"]]
    return [*found, "tokenize"]


def _rate(step: str) -> float:
    return float(_facts()["mb_per_s"][step]) * 1e6


def _bytes_per_token(vocab_size: int | None) -> float:
    """Between two vocabularies that were measured it goes with the logarithm."""
    if vocab_size is None:
        return float(_facts()["bytes_per_known_token"])
    known = sorted((math.log(int(size)), float(each)) for size, each in _facts()["bytes_per_token"].items())
    at = math.log(vocab_size)
    for (low, left), (high, right) in pairwise(known):
        if at <= high:
            return left + (right - left) * max(0.0, at - low) / (high - low)
    return known[-1][1]


def _read(recipe: Recipe, values: dict[str, Any], notes: list[str]) -> tuple[int, int] | None:
    """Rows of the source and bytes of their text; None, and a note why, where they are not known."""
    kind = values["source_kind"]
    if kind == "stdlib":
        return int(_facts()["stdlib"]["rows"]), int(_facts()["stdlib"]["bytes"])
    entry = {"path": values["source"], "field": values["text_key"], "split": values["split"], "name": values["name"]}
    if kind == "files":
        from runner.plan.datasets import local_files

        files = local_files(entry)
        if not files:
            notes.append("the size of compressed files is not known before they are read")
            return None
        notes.append("bytes are those of the files, with what stands beside the text in them")
        return sum(_lines(file) for file in files), sum(file.stat().st_size for file in files)
    try:
        [found] = sources(_with(recipe, entry))
    except Unsized as error:
        notes.append(str(error).split(";")[0])
        return None
    if (size := read_facts(shipped("data") / "datasets.yaml").get(found.name, {}).get("bytes")) is not None:
        return found.rows, int(size)
    if found.mean is None:
        notes.append(f"the length of a document of `{found.name}` is not known")
        return None
    if found.note:
        notes.append(found.note)
    return found.rows, round(found.rows * found.mean * float(_facts()["bytes_per_known_token"]))


def _lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def _with(recipe: Recipe, entry: dict[str, Any]) -> Recipe:
    from dataclasses import replace

    return replace(recipe, values={"datasets": [{k: v for k, v in entry.items() if v}]})
