"""A serving plan as the page a person reads: memory, KV cache, and speed against concurrency."""

from __future__ import annotations

from collections.abc import Iterator

from runner.plan.serving.layout import for_latency, for_throughput
from runner.plan.serving.types import Point, ServingPlan
from runner.plan.types import Estimate
from runner.report.ink import Ink
from runner.report.plan_text import bar, notes

PARTS = {
    "weights": ("W", "weights"),
    "runtime": ("R", "CUDA, NCCL and kernels"),
    "activations": ("A", "activations of the profile run"),
    "graphs": ("G", "set aside for CUDA graphs"),
    "cache": ("K", "KV cache"),
}
COLUMNS = ("requests", "first token", "all at once", "per token", "tokens/s", "nine in ten", "$/M tokens")
WIDTHS = (9, 13, 13, 12, 11, 18, 12)
NAMES = 38  # columns of the first column


def page(plan: ServingPlan, ink: Ink) -> list[str]:
    """Lines, without line ends: the verdict, what fills a GPU, what the cache holds, speed against concurrency."""
    lines = [f"fits: {ink.paint(plan.fits, plan.fits)}, {plan.verdict}"]
    lines += [f"help: {plan.help}"] if plan.help else []
    lines += [*_about(plan), "", *_memory(plan, ink), "", *_cache(plan, ink)]
    if plan.points:
        lines += ["", *_speed(plan, ink)]
    return [*lines, *_rate(plan, ink), *_prefix(plan, ink), *notes(plan.notes, ink)]


def _title(name: str, ink: Ink) -> str:
    return ink.paint(f"{name:<{NAMES}}", "bold")


def _about(plan: ServingPlan) -> Iterator[str]:
    s = plan.settings
    ways = [f"tensor parallel {s['tensor_parallel_size']}"] if s["tensor_parallel_size"] > 1 else []
    ways += [f"{s['pipeline_parallel_size']} pipeline stages"] if s["pipeline_parallel_size"] > 1 else []
    ways += [f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")]
    weights = "16-bit weights" if s["quantization"] == "none" else f"{s['quantization']} weights"
    size = f"{plan.parameters / 1e9:.1f} B parameters"
    size += f", {plan.active_parameters / 1e9:.1f} B per token" if plan.active_parameters < plan.parameters else ""
    yield f"{plan.model} ({size}) on {plan.box}: {weights}, {', '.join(ways)}"


def _memory(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    m = plan.memory
    share = f"{plan.settings['gpu_memory_utilization']:g} of {m.capacity_gib:.1f} GiB"
    yield f"{_title('memory of a GPU', ink)}{m.usable_gib:.1f} GiB for vLLM ({share})"
    taken = [(max(0.0, size), (i, PARTS[name][0])) for i, (name, size) in enumerate(m.breakdown.items())]
    yield from bar(taken, m.capacity_gib, ink)
    for i, (name, size) in enumerate(m.breakdown.items()):
        letter, words = PARTS[name]
        words = "missing" if size < 0 else words
        yield f"  {ink.part(i, letter)} {words:<{NAMES - 4}}{abs(size):8.2f} GiB"


def _cache(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    c, s = plan.cache, plan.settings
    tokens = f"{c.tokens.value:,.0f} tokens ({c.tokens.low:,.0f} to {c.tokens.high:,.0f})"
    yield f"{_title('KV cache of a replica', ink)}{tokens}"
    length = s["input_len"] + s["output_len"]
    for name, value in (
        ("per token and GPU", f"{c.kib_per_token:,.4g} KiB"),
        (f"of {s['max_model_len']:,} tokens (max_model_len)", f"{c.max_concurrency:,.2f}x"),
        (f"of {length:,} ({s['input_len']:,} in, {s['output_len']:,} out)", f"{c.typical_sequences:,} requests"),
        ("longest max_model_len", f"{c.longest:,}"),
    ):
        yield f"  {name:<{NAMES - 2}}{value}"


def _speed(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    yield ink.paint(f"requests under way on the box ({plan.gpus} GPUs)", "bold")
    yield _columns(list(COLUMNS[: 7 if plan.price_usd_per_hour else 6]))
    for point in plan.points:
        yield _row(point)


def _row(point: Point) -> str:
    if point.tokens_per_s is None:
        return f"{point.concurrency:>{WIDTHS[0]}}  {point.why}"
    cells = [f"{point.concurrency}", *map(_time, (point.first_token_ms, point.burst_ms, point.per_token_ms))]
    cells += [f"{point.tokens_per_s.value:,.0f}", f"{point.tokens_per_s.low:,.0f}-{point.tokens_per_s.high:,.0f}"]
    cells += [f"{point.usd_per_million_tokens:.2f}"] if point.usd_per_million_tokens is not None else []
    return _columns(cells)


def _columns(cells: list[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=False))


def _time(ms: Estimate | None) -> str:
    if ms is None:
        return ""
    return f"{ms.value / 1000:.1f} s" if ms.value >= 1000 else f"{ms.value:.3g} ms"


def _rate(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    if plan.rate is None:
        return
    at = plan.rate
    yield ""
    yield f"{_title(f'at {at.requests_per_s:g} requests per second', ink)}{at.why}"
    if at.point is not None:
        yield f"  {'requests under way':<{NAMES - 2}}{at.point.concurrency}"
        times = f"{_time(at.point.first_token_ms)}, {_time(at.point.per_token_ms)}"
        yield f"  {'first token, per token':<{NAMES - 2}}{times}"
        yield f"  {'most that is answered':<{NAMES - 2}}{at.capacity:.3g} requests per second"


def _prefix(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    if plan.prefix is None:
        return
    p = plan.prefix
    yield ""
    yield f"{_title('prefix cache', ink)}{p.tokens:,} tokens that all requests share"
    saved = f"{p.saved_gib:.2f} GiB; {p.sequences_without} -> {p.sequences} requests"
    yield f"  {'cache saved per replica':<{NAMES - 2}}{saved}"
    yield f"  {'first token':<{NAMES - 2}}{p.first_token_without_ms:.3g} -> {p.first_token_ms:.3g} ms"


HEAD = ("fits", "layout", "cached", "longest", "per token", "tok/s")
COLUMN_WIDTHS = (5, 9, 9, 9, 9, 9)


def table(plans: list[ServingPlan], ink: Ink) -> Iterator[str]:
    """A line for each endpoint: replicas and the GPUs of each, tokens that a replica holds, the longest context, and
    how fast one request and many are answered."""
    name = max(len(plan.model) for plan in plans)
    yield ink.paint(f"{'recipe':<{name}} {_cells(HEAD)}".rstrip(), "bold")
    for plan in sorted(plans, key=lambda plan: plan.model):
        peak, one = plan.peak, plan.points[0].per_token_ms if plan.points else None
        most = peak.tokens_per_s if peak is not None else None
        figures = (
            plan.fits,
            f"{plan.replicas} x {plan.settings['tensor_parallel_size']} GPU",
            f"{plan.cache.tokens.value:,.0f}",
            f"{plan.cache.longest:,}",
            _time(one) or "-",
            f"{most.value:,.0f}" if most is not None else "-",
        )
        yield f"{plan.model:<{name}} {_cells(figures)}".rstrip()


def _cells(words: tuple[str, ...]) -> str:
    return " ".join(f"{word:>{width}}" for word, width in zip(words, COLUMN_WIDTHS, strict=True))


def comparison(plans: list[ServingPlan], ink: Ink) -> Iterator[str]:
    """A line for each layout: where one request is answered fastest, and where most tokens come out."""
    yield f"{_title('layouts', ink)}{'one request':>14}{'at most':>20}"
    fast, broad = for_latency(plans), for_throughput(plans)
    for plan in plans:
        name = f"{plan.replicas} x tensor parallel {plan.settings['tensor_parallel_size']}"
        peak, one = plan.peak, plan.points[0] if plan.points else None
        if peak is None or peak.tokens_per_s is None or one is None:
            yield f"  {name:<{NAMES - 2}}{plan.verdict if plan.fits == 'no' else 'holds no request of this length'}"
            continue
        marks = [words for found, words in ((fast, "latency"), (broad, "throughput")) if found is plan]
        best = f"  best for {' and '.join(marks)}" if marks else ""
        yield f"  {name:<{NAMES - 2}}{_time(one.per_token_ms):>14}{peak.tokens_per_s.value:>14,.0f} tok/s{best}"
