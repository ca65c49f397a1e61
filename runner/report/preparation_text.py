"""The plan of a data preparation as a page, and a line of it in a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.plan.preparation import GIB, Preparation
from runner.report.ink import Ink, brief_duration, count, duration

HEAD = ("fits", "documents", "tokens", "core time", "time", "disk GiB")
_WIDTHS = (5, 9, 8, 9, 7, 8)


def preparation_page(plan: Preparation, ink: Ink) -> Iterator[str]:
    where = f"{plan.recipe} ({plan.profile}) on {plan.box}, {plan.workers} workers, no GPU"
    yield ink.paint(where, "bold")
    if plan.text_bytes is None or plan.tokens is None or plan.rows is None or plan.documents is None:
        yield "size      not known without the network"
    else:
        yield f"reads     {plan.rows:,} rows; {count(plan.documents)} documents, {_size(plan.text_bytes)} of text"
        yield f"tokens    at most {count(plan.tokens)}, in {_size(plan.tokens * plan.token_bytes)} of shards"
        assert plan.core_hours is not None
        assert plan.hours is not None
        yield f"work      {duration(plan.core_hours)} of one core, {duration(plan.hours)} with {plan.workers}"
        assert plan.disk_gib is not None
        assert plan.dataset_gib is not None
        fits = ink.paint({"yes": "it fits", "no": "it does not fit"}[plan.fits], plan.fits)
        most, after = (_size(round(gib * GIB)) for gib in (plan.disk_gib, plan.dataset_gib))
        yield f"disk      {most} while it works, {after} after; {fits}"
    for note in plan.notes:
        yield f"note      {note}"


def preparation_table(plans: Iterable[Preparation], ink: Ink) -> Iterator[str]:
    listed = list(plans)
    if not listed:
        return
    name = max(len(plan.recipe) for plan in listed)
    yield ink.paint(f"{'recipe':<{name}} {_row(HEAD)}".rstrip(), "bold")
    for plan in listed:
        known = plan.tokens is not None and plan.documents is not None
        figures = (
            plan.fits,
            count(plan.documents or 0) if known else "-",
            count(plan.tokens or 0) if known else "-",
            brief_duration(plan.core_hours) if plan.core_hours is not None else "-",
            brief_duration(plan.hours) if plan.hours is not None else "-",
            f"{plan.disk_gib:,.1f}" if plan.disk_gib is not None else "-",
        )
        yield f"{plan.recipe:<{name}} {_row(figures)}".rstrip()


def _row(words: tuple[str, ...]) -> str:
    return " ".join(f"{word:>{width}}" for word, width in zip(words, _WIDTHS, strict=True))


def _size(size: int) -> str:
    for step, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= step:
            return f"{size / step:,.1f} {unit}"
    return f"{size:,} bytes"
