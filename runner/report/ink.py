"""Figures as words, and words in colour where there is a terminal to show it."""

from __future__ import annotations

from dataclasses import dataclass

from runner.plan.types import Estimate
from runner.plan.verdict import amount

_CODES = {"bold": "1", "dim": "2", "yes": "1;32", "tight": "1;33", "no": "1;31"}
# of 256, told apart on light and dark ground; a bar's parts take them in turn
_PARTS = (33, 208, 35, 170, 178, 37, 203, 99, 113, 137, 67, 168, 214, 245, 30, 124, 142, 60)


@dataclass(frozen=True, slots=True)
class Ink:
    """How to draw: with colour and blocks, or in plain ASCII; `width` columns."""

    colour: bool = False
    width: int = 80

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colour and text else text

    def part(self, index: int, letter: str, cells: int = 1) -> str:
        """Cells of a bar's part: its letter, or blocks in its colour."""
        if not self.colour or not cells:
            return letter * cells
        return f"\x1b[38;5;{_PARTS[index % len(_PARTS)]}m{'█' * cells}\x1b[0m"

    def free(self, cells: int) -> str:
        return self.paint("░" * cells, "dim") if self.colour else "." * cells


def between(estimate: Estimate) -> str:
    """`59.8 to 62.7`."""
    return f"{amount(estimate.low)} to {amount(estimate.high)}"


def count(number: int) -> str:
    """`13.0 B`, of parameters or tokens; below a million as it is."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if number >= size:
            value = number / size
            return (
                f"{value:.2f} {letter}"
                if value < 10
                else f"{value:.1f} {letter}"
                if value < 100
                else f"{value:,.0f} {letter}"
            )
    return f"{number:,}"


def duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.0f} minutes" if hours * 60 >= 2 else f"{hours * 3600:.0f} seconds"


def brief_duration(hours: float) -> str:
    """`13.8 h`, for tables."""
    number, unit = duration(hours).split(" ")
    return f"{number} {'min' if unit == 'minutes' else unit[0]}"


def durations(hours: Estimate) -> str:
    """`1.6 to 2.2 days`: the unit once where both ends have the same."""
    low, high = duration(hours.low), duration(hours.high)
    number, unit = low.split(" ")
    return f"{number} to {high}" if high.endswith(f" {unit}") else f"{low} to {high}"


def money(usd: float) -> str:
    return f"${usd:,.0f}" if usd >= 100 else f"${usd:.2f}"


def seconds(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f} s"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.3g} ms"


def percent(share: float) -> str:
    return f"{share * 100:.1f}%"
