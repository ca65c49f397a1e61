"""Facts about GPUs: data/gpus/*.yaml, found by the names that drivers and people give them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from runner.facts.read import read_facts
from runner.project import shipped

# makers and product lines, which people leave out: `4090` for NVIDIA GeForce RTX 4090
_MAKERS = re.compile(r"^(?:nvidia|geforce|tesla|quadro|rtx|amd|instinct)+")


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One kind of accelerator, by its maker's data sheet; or the processor of a box without one (`cpu`).

    Memory in GiB as torch sees it (`get_device_properties().total_memory`), less than nvidia-smi's total by what the
    driver keeps. Rates are dense (without structured sparsity), with sums in fp32 as torch's matrix products have
    them, in 10**12 operations per second; 0 where the hardware has no such units. Bandwidths in 10**9 bytes per
    second: `memory_gb_s` of the device memory, `nvlink_gb_s` to the other GPUs of the node (0 without NVLink, and
    where a bridge between two cards is bought apart) and `pcie_gb_s` to the host, each in one direction. `watts` is
    the board's limit, 0 where unknown. `generation` is the maker's architecture in lower case (`hopper`).
    """

    name: str
    generation: str
    memory_gib: float
    compute_capability: str
    bf16_tflops: float
    fp16_tflops: float
    tf32_tflops: float
    fp32_tflops: float
    fp8_tflops: float
    int8_tops: float
    memory_gb_s: float
    nvlink_gb_s: float
    pcie_gb_s: float
    watts: float


def find_gpu(name: str, memory_gib: float | None = None) -> GpuFacts | None:
    """The GPU that drivers or people call `name`: "NVIDIA A100-SXM4-80GB", "a100-80gb", "A100 80GB".

    A name that several share (`A100`) means the one whose memory is nearest to `memory_gib` (GiB); without that the
    smallest, which is also what SkyPilot means by it. None where nothing answers to the name: a laptop's 4090, or a
    MIG slice, is not the card itself.
    """
    wanted = _normal(name)
    file = _files().get(wanted)
    if file is not None:
        return _read(file)[0]  # without reading all the others, which takes longer than the rest of a start
    fitting = [facts for facts, names in map(_read, _files().values()) if wanted in names]
    if not fitting:
        return None
    if memory_gib is None:
        return min(fitting, key=lambda facts: facts.memory_gib)
    return min(fitting, key=lambda facts: abs(facts.memory_gib - memory_gib))


def gpu_names() -> list[str]:
    """The short names of all GPUs that we ship facts for."""
    return sorted(file.stem for file in _files().values() if file.stem != "cpu")


def _normal(name: str) -> str:
    return _MAKERS.sub("", re.sub(r"[^a-z0-9]", "", name.lower()))


@cache
def _files() -> dict[str, Path]:
    return {_normal(file.stem): file for file in sorted((shipped("data") / "gpus").glob("*.yaml"))}


@cache
def _read(file: Path) -> tuple[GpuFacts, frozenset[str]]:
    """Facts, and the normalised names that they are found by."""
    given = read_facts(file)
    facts = GpuFacts(**{f.name: given[f.name] for f in fields(GpuFacts)})
    return facts, frozenset(map(_normal, (facts.name, *given["names"])))
