"""Plan -> the page a person reads: the verdict, what fills each GPU, speed, length, cost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from runner.plan.types import Plan, Store
from runner.plan.verdict import amount, need, of_capacity
from runner.report.ink import Ink, between, count, duration, durations, money, percent, seconds

# part of memory -> its letter in a bar without colour, and what it is
PARTS = {
    "weights": ("W", "weights"),
    "adapter": ("L", "adapter's weights"),
    "reference": ("R", "reference model"),
    "master": ("M", "32-bit master weights"),
    "gradients": ("G", "gradients"),
    "optimizer": ("O", "optimizer states"),
    "scratch": ("S", "temporaries of the step"),
    "activations": ("A", "activations kept"),
    "boundaries": ("I", "inputs of layers, held"),
    "layer": ("Y", "the layer at work"),
    "logits": ("H", "logits and loss"),
    "gathered": ("Z", "gathered weights"),
    "buckets": ("B", "communication buckets"),
    "pipe": ("P", "on the way between stages"),
    "workspace": ("K", "cuBLAS workspace"),
    "cache": ("C", "keys and values of answers"),
    "server": ("V", "vLLM's share"),
    "hessians": ("E", "sums of activations, for GPTQ"),
    "trials": ("T", "inputs for AWQ's trials"),
    "slack": ("+", "allocator and CUDA"),
}
# what takes time in a step
WORK = {
    "matmul": "matrix products",
    "matmul_fp8": "matrix products in fp8",
    "elementwise": "norms, activations, sums",
    "logits": "logits and loss",
    "dequantize": "unpacking 4-bit weights",
    "optimizer": "optimizer's step",
    "local": "talk between GPUs",
    "remote": "talk between nodes",
    "host": "transfers and step on host",
    "kernels": "launching kernels",
    "generation": "generating answers",
    "bubble": "waiting for other stages",
}
_SPARE = "DFJNQUX"
_NAME = 34  # columns of the first column of every table
_SMALL = 0.005  # share of RAM or disk below which a part is not worth a word
_STEP_BAR = 24


def page(plan: Plan, ink: Ink) -> list[str]:
    """Lines, without line ends."""
    lines = [headline(plan, ink), _about(plan), ""]
    if plan.gpus:
        lines += [*_memory(plan, ink), ""]
    lines += [*_store("host RAM", plan.host, ink), *_store("disk", plan.disk, ink), ""]
    lines += [*_parameters(plan, ink), ""]
    if plan.speed is not None:
        lines += [*_speed(plan, ink), ""]
    return [*lines, *_length(plan, ink), *_cost(plan, ink), *notes(plan.notes, ink)]


def notes(told: Sequence[str], ink: Ink) -> Iterator[str]:
    """The last part of a page; nothing where there are none."""
    if told:
        yield ""
        yield ink.paint("notes", "bold")
    for note in told:
        yield from textwrap.wrap(note, ink.width, initial_indent="  - ", subsequent_indent="    ")


def headline(plan: Plan, ink: Ink) -> str:
    """The verdict in one line."""
    parts = [f"fits: {ink.paint(plan.fits, plan.fits)}", need(plan)]
    if plan.fits != "no" and plan.cost.hours is not None:
        parts.append(duration(plan.cost.hours.value))
    if plan.fits != "no" and plan.cost.usd is not None:
        parts.append(money(plan.cost.usd.value))
    return ", ".join(parts)


def _about(plan: Plan) -> str:
    gpus = f"{plan.gpus} GPU" + ("" if plan.gpus == 1 else "s") if plan.gpus else "no GPU"
    return f"{plan.recipe} ({plan.kind}, {plan.profile}): {plan.model} on {plan.box} ({gpus})"


def _memory(plan: Plan, ink: Ink) -> Iterator[str]:
    m = plan.memory
    each = f"GPU memory, each of {plan.gpus}" if plan.gpus > 1 else "GPU memory"
    yield f"{_title(each, ink)}{amount(m.peak.value)} GiB at peak ({between(m.peak)}),"
    yield f"{'':{_NAME}}{amount(m.reserved.value)} GiB in nvidia-smi ({between(m.reserved)})"
    parts = dict(sorted(m.breakdown.items(), key=lambda part: -part[1]))
    parts["slack"] = max(0.0, m.reserved.value - m.peak.value)
    looks = _looks(list(parts))
    yield from bar(list(zip(parts.values(), looks, strict=True)), m.capacity_gib, ink)
    for (name, size), look in zip(parts.items(), looks, strict=True):
        swatch = ink.part(*look)
        words = PARTS.get(name, ("", name.replace("_", " ")))[1]
        yield f"  {swatch} {words:<{_NAME - 4}}{_gib(size)}  {_of(size, m.capacity_gib)}"
    free = m.capacity_gib - m.reserved.value
    swatch, words = (ink.free(1), "free") if free >= 0 else (" ", "more than there is")
    yield f"  {swatch} {words:<{_NAME - 4}}{_gib(abs(free))}  {_of(abs(free), m.capacity_gib)}"
    moments = ", ".join(f"{name} {amount(size)}" for name, size in m.moments.items())
    if moments:
        what = "moments of a step" if plan.trained_parameters else "steps"
        yield from textwrap.wrap(f"{what}, GiB: {moments}", ink.width, initial_indent="  ", subsequent_indent="    ")


def _looks(names: list[str]) -> list[tuple[int, str]]:
    """Of each part its colour's number and its letter: the same in every plan, as far as we know the part."""
    known, spare = list(PARTS), iter(enumerate(_SPARE, len(PARTS)))
    return [(known.index(name), PARTS[name][0]) if name in PARTS else next(spare, (0, "?")) for name in names]


def bar(parts: list[tuple[float, tuple[int, str]]], capacity: float, ink: Ink) -> Iterator[str]:
    """Parts side by side against the capacity; where they reach beyond it, a second line points at its end."""
    used = sum(size for size, _ in parts)
    total = max(capacity, used)
    label = f" {amount(total)} GiB"
    cells = ink.width - len(label) - 2
    drawn, at, reached = "", 0, 0.0
    for size, look in parts:
        reached += size
        end = round(reached / total * cells)
        drawn += ink.part(*look, end - at)
        at = end
    yield f"[{drawn}{ink.free(cells - at)}]{label}"
    if total > capacity:
        end, words = round(capacity / total * cells) + 1, f"the GPU ends at {amount(capacity)} GiB"
        pointer = f"{'^':>{end}} {words}" if end + len(words) < ink.width else f"{words} ^".rjust(end)
        yield ink.paint(pointer, "no")


def _store(name: str, store: Store, ink: Ink) -> Iterator[str]:
    yield f"{_title(name, ink)}{amount(store.gib.value)}{of_capacity(store.capacity_gib)} GiB ({between(store.gib)})"
    shown = [(part, size) for part, size in _by_size(store.breakdown) if size >= store.gib.value * _SMALL]
    parts = ", ".join(f"{part} {amount(size)}" for part, size in shown)
    yield from textwrap.wrap(parts, ink.width, initial_indent="  ", subsequent_indent="  ")


def _parameters(plan: Plan, ink: Ink) -> Iterator[str]:
    short = count(plan.parameters)
    yield f"{_title('parameters', ink)}{plan.parameters:>16,}" + (f"  {short:>6}" if " " in short else "")
    if plan.active_parameters != plan.parameters:
        share = percent(plan.active_parameters / plan.parameters)
        yield f"  {'of one token (experts chosen)':<{_NAME - 2}}{plan.active_parameters:>16,}  {share}"
    yield f"  {'trained':<{_NAME - 2}}{plan.trained_parameters:>16,}  {_of(plan.trained_parameters, plan.parameters)}"
    for name, number in plan.components.items():
        yield f"  {name.replace('_', ' '):<{_NAME - 2}}{number:>16,}  {_of(number, plan.parameters)}"


def _speed(plan: Plan, ink: Ink) -> Iterator[str]:
    speed = plan.speed
    assert speed is not None
    rate = speed.tokens_per_s_per_gpu
    yield f"{_title('speed', ink)}{rate.value:,.0f} tokens/s per GPU ({rate.low:,.0f} to {rate.high:,.0f})"
    yield f"  {'utilisation':<{_NAME - 2}}{percent(speed.mfu)} model (MFU), {percent(speed.hfu)} hardware (HFU)"
    yield f"  {'one step':<{_NAME - 2}}{seconds(speed.step_s.value)}, {count(plan.step_tokens)} tokens"
    total = sum(speed.breakdown.values()) or 1.0
    for name, taken in _by_size(speed.breakdown):
        cells = round(taken / total * _STEP_BAR)
        figures = f"{seconds(taken):>9}  {percent(taken / total):>6}  {ink.part(0, '#', cells)}"
        yield f"    {WORK.get(name, name):<{_NAME - 4}}{figures}".rstrip()


def _length(plan: Plan, ink: Ink) -> Iterator[str]:
    length = plan.length
    title = _title("length", ink)
    if length.steps is None:
        yield f"{title}not known without the data" if plan.trained_parameters else f"{title}{length.why}"
    else:
        known = [f"{length.steps:,} steps of {plan.global_batch:,} samples"]
        known += [f"{count(length.tokens)} tokens"] if length.tokens is not None else []
        yield title + ", ".join(known)
    if length.why and plan.trained_parameters:
        yield from textwrap.wrap(length.why, ink.width, initial_indent="  ", subsequent_indent="  ")
    if plan.cost.hours is not None:
        yield f"{_title('time', ink)}{duration(plan.cost.hours.value)} ({durations(plan.cost.hours)})"


def _cost(plan: Plan, ink: Ink) -> Iterator[str]:
    cost = plan.cost
    if cost.usd is not None:
        price = f"at ${cost.price_usd_per_hour:,.2f} per hour"
        yield f"{_title('cost', ink)}{money(cost.usd.value)} ({_monies(plan)}) {price}"
    elif not cost.price_usd_per_hour and plan.gpus:
        yield f"{_title('cost', ink)}no price is known for {plan.box}; --price takes USD per hour"
    if cost.kwh is not None and plan.gpus:
        yield f"{_title('energy', ink)}{amount(cost.kwh.value)} kWh ({between(cost.kwh)})"


def _monies(plan: Plan) -> str:
    assert plan.cost.usd is not None
    return f"{money(plan.cost.usd.low)} to {money(plan.cost.usd.high)}"


def _title(name: str, ink: Ink) -> str:
    return ink.paint(name, "bold") + " " * (_NAME - len(name))


def _gib(size: float) -> str:
    return f"{size:>9,.2f} GiB"


def _of(part: float, whole: float) -> str:
    return f"{percent(part / whole):>6}" if whole else ""


def _by_size(parts: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(((k, v) for k, v in parts.items() if v), key=lambda part: -part[1])
