"""The fitted constants of serving: data/serving.yaml, or a project's own refit of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.read import read_facts
from runner.project import shipped

FILE = "serving.yaml"


@dataclass(frozen=True, slots=True)
class Constants:
    """Speed: each `..._share` is the part of the hardware's peak that is reached, times are of one step.

    Memory: what vLLM's profile run takes beyond weights, in GiB; `logits_copies` counts float32 copies of the logits
    that are alive at once while it samples. `interval` holds half-widths of nine in ten measurements, as shares.
    """

    bandwidth_share: float
    cache_share: float
    compute16_share: float
    compute8_share: float
    link_share: float
    all_reduce_us: float
    layer_us: float
    prompt_layer_us: float
    step_us: float
    sequence_us: float
    eager_layer_us: float
    logits_copies: float
    runtime_gib: float
    parallel_gib: dict[str, float]
    profile_gib: float
    graphs_gib: float
    layer_graph_mib: float
    kernels: dict[str, float]
    interval: dict[str, float]


# those that `calibrate` fits; the others are read off the engine's own logs
FITTED = tuple(f.name for f in fields(Constants))[:10]


def from_data(given: dict[str, Any]) -> Constants:
    return Constants(**{f.name: given[f.name] for f in fields(Constants)})


@cache
def load_constants(root: Path | None = None) -> Constants:
    """`root`/data/serving.yaml where a project refitted them, else the one that ships."""
    own = root / "data" / FILE if root is not None else None
    return from_data(read_facts(own if own is not None and own.is_file() else shipped("data") / FILE))
