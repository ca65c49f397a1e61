"""Many plans side by side: the catalogue's, and the ways to run one recipe."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from runner.plan.fit import Choice, Search
from runner.plan.sweep import SweepPlan
from runner.plan.types import Plan
from runner.plan.verdict import amount, short_of
from runner.recipe.edit import written
from runner.report.ink import Ink, brief_duration, money

HEAD = ("fits", "GPU GiB", "tok/s/GPU", "time", "cost", "disk")
_HARD_SPACE = "\N{NO-BREAK SPACE}"
_WIDTHS = (9, 10, 9, 6, 7, 5)


def catalogue(plans: Iterable[Plan | SweepPlan], ink: Ink) -> Iterator[str]:
    """A line for each plan; GPU memory as peak of capacity, host RAM instead where there is no GPU; of a sweep
    the hungriest child's."""
    listed = list(plans)
    name = max((len(plan.recipe) for plan in listed), default=6)
    yield ink.paint(f"{'recipe':<{name}} {_row(HEAD)}".rstrip(), "bold")
    for plan in listed:
        cells = _figures(plan, ink) if isinstance(plan, Plan) else _sweep_figures(plan, ink)
        yield f"{plan.recipe:<{name}} {cells}".rstrip()


def frontier(search: Search, ink: Ink) -> Iterator[str]:
    """The plans that no other beats in both memory and speed; the best is marked."""
    choices = list(search.frontier)
    if search.best is not None and all(choice.settings != search.best.settings for choice in choices):
        choices.insert(0, search.best)
    if not choices:
        yield f"nothing fits; {search.tried} plans compared"
        return
    yield ink.paint(f"  {_row(HEAD)}".rstrip(), "bold")
    for choice in choices:
        best = search.best is not None and choice.settings == search.best.settings
        yield f"{'*' if best else ' '} {_figures(choice.plan, ink)}".rstrip()
        yield from _indented(_changes(choice), ink)
        if choice.changes_learning:
            yield from _indented(f"learns differently: {'; '.join(choice.changes_learning)}", ink)
    yield ""
    yield f"{search.tried} plans compared; * fits, changes least of what is learned, then is the fastest"


def _changes(choice: Choice) -> str:
    pairs = (f"{key}: {written(value)}" for key, value in choice.settings.items())
    # a key and its value stay on one line
    return ", ".join(pair.replace(" ", _HARD_SPACE) for pair in pairs) or "as written"


def _indented(text: str, ink: Ink) -> list[str]:
    lines = textwrap.wrap(text, ink.width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return [line.replace(_HARD_SPACE, " ") for line in lines]


def _figures(plan: Plan, ink: Ink) -> str:
    memory, speed, cost = plan.memory, plan.speed, plan.cost
    # the GPU's own figures stand beside it
    ram = plan.gpus and plan.fits != "yes" and short_of(plan) == "host"
    cells = (
        f"{plan.fits} RAM" if ram else plan.fits,
        f"{amount(memory.peak.value)}/{amount(memory.capacity_gib)}" if plan.gpus else "no GPU",
        f"{speed.tokens_per_s_per_gpu.value:,.0f}" if speed is not None else "-",
        brief_duration(cost.hours.value) if cost.hours is not None else "-",
        money(cost.usd.value) if cost.usd is not None else "-",
        amount(plan.disk.gib.value),
    )
    return _row(cells).replace(plan.fits, ink.paint(plan.fits, plan.fits), 1)


def _sweep_figures(plan: SweepPlan, ink: Ink) -> str:
    hungriest = max((each.plan for each in plan.children), key=lambda each: each.memory.peak.value)
    memory = hungriest.memory
    cells = (
        plan.fits,
        f"{amount(memory.peak.value)}/{amount(memory.capacity_gib)}" if hungriest.gpus else "no GPU",
        f"{len(plan.children)} runs",
        brief_duration(plan.hours.value) if plan.hours is not None else "-",
        money(plan.usd.value) if plan.usd is not None else "-",
        amount(plan.disk_gib),
    )
    return _row(cells).replace(plan.fits, ink.paint(plan.fits, plan.fits), 1)


def _row(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return f"{first:<{_WIDTHS[0]}}" + "".join(
        f" {cell:>{width}}" for cell, width in zip(rest, _WIDTHS[1:], strict=True)
    )
