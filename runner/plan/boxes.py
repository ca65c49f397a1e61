"""Facts about machines: data/boxes/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from runner.project import shipped


def read_facts(file: Path) -> dict[str, Any]:
    """A YAML file of our own, by libyaml where it is there: ten times as fast, and every start reads some."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(file.read_text(), Loader=loader)  # noqa: S506 - both loaders are safe ones
    return found


@dataclass(frozen=True, slots=True)
class Box:
    """A machine. `gpus` counts accelerators; memory is usable GiB per GPU; `compute_capability` as in `sm_90`."""

    name: str
    gpus: int
    gpu: str
    gpu_memory_gib: float
    compute_capability: str
    cores: int
    ram_gib: float


def box_names() -> list[str]:
    return sorted(p.stem for p in (shipped("data") / "boxes").glob("*.yaml"))


@cache
def load_box(name: str) -> Box:
    """Raises KeyError when there is no such box."""
    file = shipped("data") / "boxes" / f"{name}.yaml"
    if name not in box_names():
        raise KeyError(name)
    given = read_facts(file)
    return Box(**{f.name: given[f.name] for f in fields(Box)})
