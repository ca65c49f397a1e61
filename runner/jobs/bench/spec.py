"""bench.json, as rendered, and what lies beside it: `cells/` holds a file for each cell that was run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CELLS = Path("cells")
PROMPTS = Path("prompts")
METRICS = Path("metrics.jsonl")
# how a cell ended: `partial` where some requests failed; `failed` has no figures that could be compared
FINISHED, PARTIAL, FAILED = "finished", "partial", "failed"
CONCURRENCY, RATE, SATURATION, OFFLINE = "concurrency", "rate", "saturation", "offline"

Cell = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """`spec` is the endpoint.json to start it from; None of one that runs already, at `url`."""

    name: str
    engine: str
    model: str
    tokenizer: str
    spec: str | None
    url: str | None
    cells: tuple[Cell, ...]

    @property
    def pending(self) -> list[Cell]:
        """Cells that have no result yet, or a failed one."""
        return [cell for cell in self.cells if not is_done(self.name, cell["id"])]

    @property
    def served(self) -> list[Cell]:
        """Those that ask a server."""
        return [cell for cell in self.cells if cell["mode"] != OFFLINE]


@dataclass(frozen=True)
class Bench:
    """`objective` as goodput takes it; `most_cached` is the share of prompt tokens that may come out of the prefix
    cache; `dataset` a file of prompts, None for random ones. A `price` of 0 is not known."""

    endpoints: tuple[Endpoint, ...]
    objective: dict[str, float]
    warmup: int
    most_cached: float
    dataset: str | None
    price_usd_per_hour: float
    box: str

    def endpoint(self, name: str) -> Endpoint:
        return next(e for e in self.endpoints if e.name == name)


def read(file: Path) -> Bench:
    given = json.loads(file.read_text())
    endpoints = tuple(Endpoint(**{**e, "cells": tuple(e["cells"])}) for e in given.pop("endpoints"))
    return Bench(endpoints=endpoints, **given)


def result_file(endpoint: str, cell: str) -> Path:
    return CELLS / endpoint / f"{cell}.json"


def result(endpoint: str, cell: str) -> dict[str, Any] | None:
    """None where the cell was not run, or was killed while it ran."""
    try:
        found: dict[str, Any] = json.loads(result_file(endpoint, cell).read_text())
    except (OSError, ValueError):
        return None
    return found


def is_done(endpoint: str, cell: str) -> bool:
    found = result(endpoint, cell)
    return found is not None and found["status"] != FAILED


def write_result(endpoint: str, cell: str, found: dict[str, Any]) -> None:
    """Whole or not at all, so that a killed cell is one that was not run."""
    file = result_file(endpoint, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1))
    part.replace(file)


def below(endpoint: str, cell: Cell) -> Iterator[tuple[str, dict[str, Any]]]:
    """The cells of a saturation search that were run, by their rates."""
    found = [(p.stem, result(endpoint, p.stem)) for p in (CELLS / endpoint).glob(f"{cell['id']}-r*.json")]
    yield from sorted(((name, r) for name, r in found if r is not None), key=lambda pair: float(pair[1]["rate"]))


def report(bench: Bench, **figures: Any) -> None:
    """How far the run is, for who watches it."""
    total = [(e.name, cell["id"]) for e in bench.endpoints for cell in e.cells]
    row = {"step": sum(is_done(*each) for each in total), "max_steps": len(total), **figures}
    with METRICS.open("a") as out:
        out.write(json.dumps(row) + "\n")
        out.flush()
        os.fsync(out.fileno())
