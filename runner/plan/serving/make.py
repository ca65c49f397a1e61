"""Architecture x Box x Settings -> ServingPlan."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace

from runner.facts.architecture import Architecture
from runner.facts.boxes import Box
from runner.plan.serving.cache import Cache, blocks_for, longest, make_cache, sequences
from runner.plan.serving.constants import Constants, load_constants
from runner.plan.serving.footprint import GIB, Footprint, footprint
from runner.plan.serving.load import Load, cached_prefix, steady
from runner.plan.serving.settings import BLOCK, Resolved, Settings, facts_of, resolve
from runner.plan.serving.speed import Engine, prompt_seconds
from runner.plan.serving.types import AtRate, CacheRoom, Point, Prefix, ServingMemory, ServingPlan
from runner.plan.types import Estimate, Fits

# speed was measured for these; for others the interval is wider by half
MEASURED_METHODS = ("none", "fp8")
MEASURED_GENERATIONS = ("ampere", "ada", "hopper")
UNMEASURED = 1.5


def plan_serving(
    architecture: Architecture,
    box: Box,
    settings: Settings | None = None,
    model: str = "",
    constants: Constants | None = None,
    at: Collection[int] = (),
) -> ServingPlan:
    """`at`: concurrencies that `points` shall have besides its own, where they are carried.

    Raises ValueError, in plain words, for settings that vLLM refuses and for boxes without GPUs; a model that does
    not fit is a plan that says so."""
    r = resolve(architecture, box, settings or Settings())
    c = constants or load_constants()
    e = Engine(architecture, facts_of(box), r, c)
    prints = [footprint(architecture, e.gpu, r, c, stage) for stage in range(r.pipeline)]
    cache = make_cache(architecture, r, [p.cache for p in prints])
    least = min(prints, key=lambda p: p.cache)
    room = _room(architecture, r, cache, least, c)
    fits, verdict, help_ = _verdict(e, box, room, least)
    started = fits != "no"
    return ServingPlan(
        model=model or architecture.model_type,
        box=box.name,
        gpus=r.replicas * r.tensor * r.pipeline,
        parameters=architecture.parameters,
        active_parameters=architecture.active_parameters,
        settings=_shown(r),
        memory=_memory(e, least),
        cache=room,
        points=tuple(_points(e, room, box.price_usd_per_hour, at)) if started else (),
        rate=_at_rate(e, room, box.price_usd_per_hour) if started and r.request_rate else None,
        prefix=_prefix(e, cache) if started and cached_prefix(r) else None,
        fits=fits,
        verdict=verdict,
        help=help_,
        price_usd_per_hour=box.price_usd_per_hour,
        notes=(*architecture.notes, *_notes(e)),
    )


def _memory(e: Engine, p: Footprint) -> ServingMemory:
    parts = {"weights": p.weights, "runtime": p.runtime, "activations": p.activations, "graphs": p.graphs}
    return ServingMemory(
        capacity_gib=e.gpu.memory_gib,
        usable_gib=p.usable / GIB,
        breakdown={name: size / GIB for name, size in {**parts, "cache": p.cache}.items()},
    )


def _room(architecture: Architecture, r: Resolved, cache: Cache, least: Footprint, c: Constants) -> CacheRoom:
    """With the interval of what is set aside beside the weights, which changes with the engine's version."""
    doubt = c.interval["memory"] * (least.runtime + least.activations + least.graphs) / max(1.0, abs(least.cache))
    low, high = (cache.tokens * max(0.0, 1 + sign * doubt) for sign in (-1, 1))
    return CacheRoom(
        kib_per_token=cache.bytes_per_token / 1024,
        blocks=cache.blocks,
        tokens=Estimate(cache.tokens, low, high),
        max_concurrency=cache.concurrency,
        sequences=sequences(cache.blocks, r.max_model_len, architecture, r),
        typical_sequences=sequences(cache.blocks, r.input_len + r.output_len, architecture, r, cached_prefix(r)),
        longest=longest(cache.blocks, architecture, r),
    )


def _verdict(e: Engine, box: Box, room: CacheRoom, least: Footprint) -> tuple[Fits, str, str]:
    """vLLM refuses to start where one request of `max_model_len` does not fit (kv_cache_utils.py,
    _check_enough_kv_cache_memory)."""
    r = e.settings
    needed = blocks_for(r.max_model_len, e.architecture, r)
    if least.cache <= 0:
        missing = f"{-least.cache / GIB:.1f} GiB are missing on each GPU before the first token of KV cache"
        return "no", missing, _way_out(e, box, len(_tensor_sizes(e, box)) > 0)
    if room.blocks < needed:
        held = f"the cache holds {room.longest:,} tokens, `max_model_len` is {r.max_model_len:,}"
        shorter = f"set `max_model_len` to {room.longest // BLOCK * BLOCK:,} or less" if room.longest >= BLOCK else ""
        return "no", held, shorter or _way_out(e, box, True)
    if room.tokens.low < r.max_model_len:
        return "tight", f"one request of {r.max_model_len:,} tokens may or may not fit", _way_out(e, box, True)
    return "yes", f"{room.sequences} requests of {r.max_model_len:,} tokens fit in a replica at once", ""


def _tensor_sizes(e: Engine, box: Box) -> list[int]:
    return [n for n in range(e.settings.tensor + 1, box.gpus + 1) if not e.architecture.decoder.unshared(n)]


def _way_out(e: Engine, box: Box, parallel: bool) -> str:
    """The first single knob that makes it fit, whichever version of vLLM it is: more GPUs, then smaller weights."""
    r, doubt = e.settings, e.constants.interval["memory"]
    tries: list[tuple[str, Resolved]] = []
    if parallel:
        tries += [(f"`tensor_parallel_size: {n}`", replace(r, tensor=n)) for n in _tensor_sizes(e, box)]
    if r.method == "none":
        tries += [("`quantization: fp8_per_channel`", replace(r, method="fp8"))]
        tries += [("4-bit weights (`awq` or `gptq`)", replace(r, method="awq"))]
    for words, changed in tries:
        prints = [footprint(e.architecture, e.gpu, changed, e.constants, s) for s in range(changed.pipeline)]
        sure = [p.cache - doubt * (p.runtime + p.activations + p.graphs) for p in prints]
        cache = make_cache(e.architecture, changed, sure)
        if cache.blocks >= blocks_for(changed.max_model_len, e.architecture, changed):
            return f"with {words} it would hold at least {cache.tokens:,} tokens"
    return f"`{e.architecture.model_type}` of this size needs a larger box"


def _shown(r: Resolved) -> dict[str, object]:
    return {
        "quantization": r.method,
        "tensor_parallel_size": r.tensor,
        "pipeline_parallel_size": r.pipeline,
        "data_parallel_size": r.replicas,
        "max_model_len": r.max_model_len,
        "max_num_seqs": r.max_num_seqs,
        "max_num_batched_tokens": r.max_num_batched_tokens,
        "gpu_memory_utilization": r.utilization,
        "enable_prefix_caching": r.prefix_caching,
        "enforce_eager": r.eager,
        "input_len": r.input_len,
        "output_len": r.output_len,
        "shared_prefix_len": r.prefix_len,
    }


def _doubt(e: Engine, what: str) -> float:
    known = e.settings.method in MEASURED_METHODS and e.gpu.generation in MEASURED_GENERATIONS
    return e.constants.interval[what] * (1.0 if known else UNMEASURED)


def _about(e: Engine, value: float, what: str = "speed") -> Estimate:
    wide = 1 + _doubt(e, what)
    return Estimate(value, value / wide, value * wide)


def _limit(e: Engine, room: CacheRoom) -> tuple[int, str]:
    """Requests that one replica works on at once, and what keeps it from more."""
    r, length = e.settings, e.settings.input_len + e.settings.output_len
    if r.max_num_seqs <= room.typical_sequences:
        return r.max_num_seqs, f"`max_num_seqs` is {r.max_num_seqs}; the rest would wait"
    return (
        room.typical_sequences,
        f"the cache of a replica holds {room.typical_sequences} requests of {length:,} tokens",
    )


def _point(e: Engine, load: Load, concurrency: int, price: float) -> Point:
    """`load` of one replica, of which the box has several that share `concurrency`."""
    rate, found = load.tokens_per_s * concurrency / load.concurrency, cached_prefix(e.settings)
    burst = prompt_seconds(e, e.settings.input_len - found, found, load.concurrency)
    return Point(
        concurrency=concurrency,
        first_token_ms=_about(e, load.first_token * 1000, "first_token"),
        burst_ms=_about(e, max(burst, load.first_token) * 1000, "first_token"),
        per_token_ms=_about(e, load.per_token * 1000),
        tokens_per_s=_about(e, rate),
        usd_per_million_tokens=price / 3600 / rate * 1e6 if price else None,
    )


def _points(e: Engine, room: CacheRoom, price: float, at: Collection[int] = ()) -> Iterator[Point]:
    """At powers of two up to the most that is carried, there, where else it is asked for, and one beyond."""
    replicas = e.settings.replicas
    most, why = _limit(e, room)
    carried = most * replicas
    powers = [2**i for i in range(carried.bit_length()) if 2**i < carried]
    counts = {*powers, *(n for n in at if n <= carried), carried} - {0}
    for count in sorted(counts):
        yield _point(e, steady(e, -(-count // replicas)), count, price)
    yield Point(1 << carried.bit_length(), None, None, None, None, None, why)


def _at_rate(e: Engine, room: CacheRoom, price: float) -> AtRate:
    """By Little's law (1961): requests under way = rate x life. The fewest at which a replica keeps up."""
    r = e.settings
    assert r.request_rate is not None
    most, why = _limit(e, room)
    if most == 0:
        return AtRate(r.request_rate, 0.0, None, why)
    capacity = max(steady(e, n).requests_per_s for n in {most, max(1, most // 2)}) * r.replicas
    if r.request_rate >= capacity:
        told = (
            f"{r.request_rate:g} requests per second are more than the {capacity:.3g} that it answers; the queue grows"
        )
        return AtRate(r.request_rate, capacity, None, told)
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if steady(e, middle).requests_per_s * r.replicas >= r.request_rate else (middle + 1, high)
        )
    load = steady(e, low)
    tokens = r.request_rate * r.output_len
    point = replace(_point(e, load, low * r.replicas, price), tokens_per_s=_about(e, tokens))
    return AtRate(r.request_rate, capacity, point)


def _prefix(e: Engine, cache: Cache) -> Prefix:
    r, kept = e.settings, cached_prefix(e.settings)
    length = r.input_len + r.output_len
    without = sequences(cache.blocks, length, e.architecture, r)
    held = sequences(cache.blocks, length, e.architecture, r, kept)
    return Prefix(
        tokens=kept,
        saved_gib=max(0, without - 1) * kept * cache.bytes_per_token / GIB,
        sequences=held,
        sequences_without=without,
        first_token_ms=1000 * prompt_seconds(e, r.input_len - kept, kept),
        first_token_without_ms=1000 * prompt_seconds(e, r.input_len),
    )


def _notes(e: Engine) -> Iterator[str]:
    r, gpu = e.settings, e.gpu
    if r.method == "fp8" and not gpu.fp8_tflops:
        yield f"{gpu.name} has no 8-bit floating point units: weights are read as FP8 and multiplied in 16 bits"
    if r.method not in MEASURED_METHODS:
        yield f"speed with `{r.method}` weights is by analogy, not from measurements; its interval is wider"
    if r.tensor > e.architecture.decoder.kv_heads:
        repeats = math.ceil(r.tensor / e.architecture.decoder.kv_heads)
        yield f"keys and values are kept {repeats} times over: the model has fewer heads of them than GPUs"
    if any(stack.name == "vision" for stack in e.architecture.stacks):
        yield "what the vision tower takes while images are profiled is not counted"
    if r.tensor > 1 and not gpu.nvlink_gb_s:
        yield "without NVLink tensor parallel goes over PCIe; its latency was not measured and may be higher"
