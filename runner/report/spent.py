"""What runs have cost: their time on the box they ran on, by its hourly price."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from runner.facts.boxes import box_names, load_box
from runner.record import Run


@cache
def price_usd_per_hour(box: str) -> float:
    """0 for a box that is not ours, and where no price is known."""
    return load_box(box).price_usd_per_hour if box in box_names() else 0.0


def spent_usd(run: Run) -> float:
    """Failed and interrupted runs cost as much as others."""
    seconds = run.record.get("seconds")
    return float(seconds) / 3600 * price_usd_per_hour(str(run.record.get("box", ""))) if seconds else 0.0


def total_usd(runs: Iterable[Run]) -> float:
    return sum(map(spent_usd, runs))
