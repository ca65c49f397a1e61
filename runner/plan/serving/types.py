"""What a serving plan says: memory of the fullest GPU, what the cache holds, and speed against concurrency."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from runner.plan.types import Estimate, Fits


@dataclass(frozen=True, slots=True)
class ServingMemory:
    """GiB on one GPU of the pipeline stage that has least room. `breakdown` (weights, runtime, activations, graphs,
    cache) adds up to `usable_gib`, `gpu_memory_utilization` of the GPU; a `cache` below zero is what is missing."""

    capacity_gib: float
    usable_gib: float
    breakdown: dict[str, float]


@dataclass(frozen=True, slots=True)
class CacheRoom:
    """Of one replica. `tokens` and `max_concurrency` are what vLLM reports ("GPU KV cache size: ... tokens, Maximum
    concurrency for ... tokens per request: ...x"); `kib_per_token` is on one GPU. `sequences` of `max_model_len` and
    `typical_sequences` of the foreseen length are held at once. `longest` is the largest `max_model_len` that fits."""

    kib_per_token: float
    blocks: int
    tokens: Estimate
    max_concurrency: float
    sequences: int
    typical_sequences: int
    longest: int


@dataclass(frozen=True, slots=True)
class Point:
    """What requests see while `concurrency` of them are under way on the whole box. None where the engine would
    saturate, for a reason that `why` tells; first tokens then wait without end.

    `first_token_ms` is for requests that come spread out; of as many that come all at once the last waits `burst_ms`.
    """

    concurrency: int
    first_token_ms: Estimate | None
    burst_ms: Estimate | None
    per_token_ms: Estimate | None
    tokens_per_s: Estimate | None
    usd_per_million_tokens: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class AtRate:
    """At `requests_per_s` for the whole box: how many requests are then under way; None above `capacity`."""

    requests_per_s: float
    capacity: float
    point: Point | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What keeping a prefix that all requests share saves: `tokens` of it in whole blocks, GiB of the cache per
    replica when as many requests run as fit without it, and what a request then sees."""

    tokens: int
    saved_gib: float
    sequences: int
    sequences_without: int
    first_token_ms: float
    first_token_without_ms: float


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """Everything that is foreseen of serving a model on a box. `settings` are vLLM's arguments with its defaults
    filled in. `points` is empty where the engine would not start."""

    model: str
    box: str
    gpus: int
    parameters: int
    active_parameters: int
    settings: dict[str, Any]
    memory: ServingMemory
    cache: CacheRoom
    points: tuple[Point, ...]
    rate: AtRate | None
    prefix: Prefix | None
    fits: Fits
    verdict: str
    help: str
    price_usd_per_hour: float
    notes: tuple[str, ...] = field(default=())

    @property
    def peak(self) -> Point | None:
        """The most that is carried without saturating."""
        carried = [p for p in self.points if p.tokens_per_s is not None]
        return carried[-1] if carried else None

    @property
    def replicas(self) -> int:
        return int(self.settings["data_parallel_size"])


def to_json(plan: ServingPlan) -> dict[str, Any]:
    """As JSON, with stable names: those of the fields, figures to five digits."""
    found: dict[str, Any] = _rounded(asdict(plan))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
