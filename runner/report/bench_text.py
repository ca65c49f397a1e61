"""The plan of a benchmark as a page, and a line of it in a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.plan.bench import BenchPlan, Foreseen
from runner.report.ink import Ink, brief_duration, duration

HEAD = ("load", "first token", "per token", "tokens/s", "$/M tokens", "time")
_WIDTHS = (16, 12, 10, 10, 11, 8)


def bench_page(plan: BenchPlan, ink: Ink) -> Iterator[str]:
    yield ink.paint(f"{plan.recipe} ({plan.profile}) on {plan.box}, {len(plan.cells)} cells", "bold")
    group = None
    for cell in plan.cells:
        if group != (cell.endpoint, cell.input_len, cell.output_len):
            group = (cell.endpoint, cell.input_len, cell.output_len)
            yield ""
            about = f"{cell.endpoint} ({cell.engine}), {cell.input_len:,} tokens in, {cell.output_len:,} out"
            yield ink.paint(about, "bold")
            yield _row(HEAD)
        yield _row(_figures(cell)).rstrip() + (f"  {cell.why}" if cell.why else "")
    yield ""
    cost = f", {plan.usd:,.0f} USD" if plan.usd is not None else ""
    yield f"time      {duration(plan.hours)}{cost}" if plan.hours is not None else "time      not known"
    for note in plan.notes:
        yield f"note      {note}"


def _figures(cell: Foreseen) -> tuple[str, ...]:
    price = cell.usd_per_million_tokens
    return (
        cell.load,
        _time(cell.ttft_ms),
        _time(cell.tpot_ms),
        f"{cell.output_tokens_per_s:,.0f}" if cell.output_tokens_per_s is not None else "-",
        f"{price:.2f}" if price is not None else "-",
        brief_duration(cell.seconds / 3600) if cell.seconds is not None else "-",
    )


def _time(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.3g} ms"


def _row(words: tuple[str, ...]) -> str:
    return "".join(f"{word:>{width}}" for word, width in zip(words, _WIDTHS, strict=True))


def bench_table(plans: Iterable[BenchPlan], ink: Ink) -> Iterator[str]:
    listed = list(plans)
    name = max(len(plan.recipe) for plan in listed)
    yield ink.paint(f"{'recipe':<{name}} {'fits':>5} {'endpoints':>10} {'cells':>6} {'time':>8} {'USD':>7}", "bold")
    for plan in listed:
        hours = brief_duration(plan.hours) if plan.hours is not None else "-"
        usd = f"{plan.usd:,.0f}" if plan.usd is not None else "-"
        endpoints = len({cell.endpoint for cell in plan.cells})
        yield f"{plan.recipe:<{name}} {plan.fits:>5} {endpoints:>10} {len(plan.cells):>6} {hours:>8} {usd:>7}"
