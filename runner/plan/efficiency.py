"""The fitted constants of the plan: data/efficiency.yaml, or a project's own refit of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.read import read_facts
from runner.project import shipped

FILE = "efficiency.yaml"
BY_GENERATION = ("matmul", "matmul_fp8", "attention")


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Each factor is time taken / time at the hardware's peak rate, so 1 is perfect and 2 half of it. Those of
    `BY_GENERATION` are looked up by the GPU's generation, `local` by the link between GPUs. `slack` is the allocator's
    (memory/reserved.py); `interval` holds half-widths, as shares."""

    matmul: dict[str, float]
    matmul_fp8: dict[str, float]
    attention: dict[str, float]
    adapters: float
    elementwise: float
    logits: float
    dequantize: float
    optimizer: float
    local: dict[str, float]
    remote: float
    host: float
    kernels: float
    slack: dict[str, float]
    interval: dict[str, float]

    def of(self, name: str, kind: str = "") -> float:
        """`kind`: the GPU's generation, or `nvlink` or `pcie` for `local`."""
        found: dict[str, float] | float = getattr(self, name)
        return found.get(kind, found["default"]) if isinstance(found, dict) else found


def from_data(given: dict[str, Any]) -> Efficiency:
    """Raises ValueError where a factor is not there."""
    missing = [f.name for f in fields(Efficiency) if f.name not in given]
    if missing:
        raise ValueError(f"{FILE} lacks `{missing[0]}`: `runner calibrate --write` makes a whole one")
    return Efficiency(**{f.name: given[f.name] for f in fields(Efficiency)})


@cache
def load_efficiency(root: Path | None = None) -> Efficiency:
    """`root`/data/efficiency.yaml where `runner calibrate` wrote one for a project, else the one that ships."""
    own = root / "data" / FILE if root is not None else None
    given = read_facts(own if own is not None and own.is_file() else shipped("data") / FILE)
    return from_data(given if isinstance(given, dict) else {})
