"""What a plan says: figures with their intervals, parts that add up, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Fits = Literal["yes", "tight", "no"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the interval that nine of ten measurements fall in."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Memory:
    """One GPU's (of a box without GPUs: none, and all figures are 0), in GiB.

    `peak` compares with torch.cuda.max_memory_allocated, `reserved` with what nvidia-smi shows: the allocator's blocks
    and CUDA's own on top. `breakdown` adds up to the peak at its moment, `phase` (`loss`, `backward` or `step`);
    `moments` are the sizes of the others. `slack` is `reserved` less `peak`.
    """

    peak: Estimate
    reserved: Estimate
    capacity_gib: float
    phase: str
    breakdown: dict[str, float]
    moments: dict[str, float]


@dataclass(frozen=True, slots=True)
class Store:
    """Host RAM or disk of the whole box, in GiB: what is needed, what it is made of, what there is."""

    gib: Estimate
    breakdown: dict[str, float]
    capacity_gib: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Per optimizer step and GPU. `mfu` counts 6 operations per parameter and token and causal attention, without
    recomputation, against the GPU's dense peak; `hfu` counts what is really computed. `breakdown` is seconds of a step
    by what takes them."""

    tokens_per_s_per_gpu: Estimate
    step_s: Estimate
    mfu: float
    hfu: float
    breakdown: dict[str, float]


@dataclass(frozen=True, slots=True)
class Length:
    """How much there is to do. None where the size of the data isn't known without the network; `why` says so."""

    steps: int | None
    tokens: int | None
    samples: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    hours: Estimate | None
    usd: Estimate | None
    kwh: Estimate | None
    price_usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is foreseen of one run of a recipe on a box."""

    recipe: str
    kind: str
    profile: str
    box: str
    gpus: int
    model: str
    parameters: int
    active_parameters: int
    trained_parameters: int
    components: dict[str, int]
    global_batch: int
    step_tokens: int
    memory: Memory
    host: Store
    disk: Store
    fits: Fits
    speed: Speed | None
    length: Length
    cost: Cost
    notes: tuple[str, ...] = field(default=())
