"""Summaries of runs -> the columns of `runner runs`, and the same figures as plain data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.boxes import load_box
from runner.project import Project
from runner.recipe.load import printable
from runner.record import LOG, METRICS
from runner.report.history import Summary
from runner.report.ink import brief_duration, money

# of a run that says it is going on: its engine's quietest hours are the loading of a large model
SILENT_S = 1800.0
HEAD = ("recipe", "profile", "run", "status", "when", "time", "cost", "measured/predicted", "result")
# of the ratios, those that a person looks for first, and what a column calls them
RATIOS = {
    "time.hours": "time",
    "memory.peak_gib": "memory",
    "speed.tokens_per_s_per_gpu": "tok/s",
    "host.ram_gib": "RAM",
}


@cache
def price(box: str) -> float | None:
    """US dollars an hour of a shipped box; None of a box of one's own, and of one that costs nothing by the hour."""
    try:
        return load_box(box).price_usd_per_hour or None
    except KeyError:
        return None


def cost_usd(summary: Summary) -> float | None:
    """Hours of all attempts times the box's price of today."""
    hourly = price(summary.box)
    return None if hourly is None else summary.seconds / 3600 * hourly


def silent_s(project: Project, summary: Summary) -> float | None:
    """Of a run that says it is going on, how long its files have not grown; None of any other, or without files."""
    if summary.status != "running":
        return None
    folder = project.artifacts / summary.place
    times = [file.stat().st_mtime for file in (folder / LOG, folder / METRICS) if file.exists()]
    return time.time() - max(times) if times else None


def as_data(project: Project, summary: Summary) -> dict[str, Any]:
    """What `runner runs --json` prints of one."""
    found = asdict(summary) | {"run": summary.run, "folder": str(project.artifacts / summary.place)}
    del found["place"]
    return found | {"cost_usd": _rounded(cost_usd(summary)), "silent_s": _rounded(silent_s(project, summary))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def table(project: Project, summaries: Iterable[Summary], now: datetime | None = None) -> list[tuple[str, ...]]:
    """A line for each, without the head."""
    now = now or datetime.now(timezone.utc)
    return [_line(project, each, now) for each in summaries]


def _line(project: Project, each: Summary, now: datetime) -> tuple[str, ...]:
    cost = cost_usd(each)
    return (
        printable(each.recipe, 120),
        printable(each.profile, 12),
        printable(each.run, 24),
        printable(each.status, 12),
        ago(each.started, now),
        brief_duration(each.seconds / 3600) if each.seconds else "-",
        "-" if cost is None else money(cost),
        compared(each) or "-",
        printable(result(project, each), 100),
    )


def compared(each: Summary) -> str:
    """`time x1.31, RAM x0.97`."""
    return ", ".join(f"{word} x{each.ratios[name]:.2f}" for name, word in RATIOS.items() if name in each.ratios)


def result(project: Project, each: Summary) -> str:
    """What it came to, or why it didn't."""
    if each.error:
        return each.error
    quiet = silent_s(project, each)
    if quiet is not None and quiet > SILENT_S:
        return f"nothing written for {brief_duration(quiet / 3600)}: is it still there?"
    return each.headline


def ago(started: str, now: datetime) -> str:
    """`5 min ago`, `2026-01-31` where that is more than two weeks; empty where there is no time."""
    try:
        then = datetime.fromisoformat(started)
    except ValueError:
        return ""
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    seconds = (now - then).total_seconds()
    if seconds < 60:
        return "now" if seconds > -60 else f"{then:%Y-%m-%d}"
    for size, unit, most in ((60, "min", 60), (3600, "h", 48), (86400, "days", 15)):
        if seconds < size * most:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{then:%Y-%m-%d}"


def columns(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Padded to one width each, those in `right` to the right."""
    if not lines:
        return []
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def folder_of(project: Project, summary: Summary) -> Path:
    return project.artifacts / summary.place
