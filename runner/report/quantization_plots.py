"""Rows of quantized checkpoints -> a figure: what each scheme keeps of the quality, and what it takes and saves.

Rows are those that a run of kind `quantize` leaves in `output/table/table.json` (runner/jobs/quantize/table.py), one
for each scheme, with the name that the figure gives it as `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runner.report.figure import EXPECTED, MEASURED, write_figure

Row = dict[str, Any]
NEEDED = ("GiB", "bits/weight", "recovery", "recovery low", "recovery high")
SPEEDS = ("tokens/s before (transformers)", "tokens/s after (transformers)")
GREY = "#9ca3af"


def drawable(rows: Sequence[Row]) -> list[Row]:
    """Those that a gate measured."""
    return [row for row in rows if all(isinstance(row.get(name), (int, float)) for name in NEEDED)]


def draw_quantization(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes `quantization` as PNG and SVG; nothing where no row is of a quantized checkpoint."""
    found = drawable(rows)
    if not found:
        return []
    return write_figure((10.0, 0.9 + 2 * max(1.5, 0.34 * len(found))), _figure(found), folder / "quantization")


def _figure(rows: list[Row]) -> Callable[[Any], None]:
    def drawn(figure: Any) -> None:
        (quality, task), (size, speed) = figure.subplots(2, 2, sharey=True)
        _recovery(quality, rows, "recovery", "likelihood per token kept, with its interval")
        _recovery(task, rows, "task recovery", "accuracy on tasks kept")
        _bars(size, rows, [("GiB", MEASURED)], "size of the weights, GiB")
        for bar, row in enumerate(rows):
            size.annotate(f" {row['bits/weight']:.2f} bits", (row["GiB"], bar), va="center", fontsize=7.5)
        size.margins(x=0.25)
        _bars(speed, rows, [(SPEEDS[0], GREY), (SPEEDS[1], MEASURED)], "tokens/s of one sequence in transformers")
        names = [str(row.get("run") or row["scheme"]) for row in rows]
        for axes in (quality, size):
            axes.set_yticks(range(len(rows)), names)
        quality.invert_yaxis()

    return drawn


def _recovery(axes: Any, rows: list[Row], name: str, title: str) -> None:
    """Points with what is known of their interval; hollow where the gate was not passed."""
    for y, row in enumerate(rows):
        value = row.get(name)
        if value is None:
            continue
        low, high = row.get(f"{name} low"), row.get(f"{name} high")
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=MEASURED, lw=1.6)
        filled = MEASURED if row.get("passed", True) else "white"
        axes.plot(value, y, "o", ms=5, color=MEASURED, markerfacecolor=filled)
    axes.axvline(1.0, color=EXPECTED, lw=0.9)
    axes.set_title(title)


def _bars(axes: Any, rows: list[Row], columns: list[tuple[str, str]], title: str) -> None:
    height = 0.7 / len(columns)
    for i, (name, colour) in enumerate(columns):
        at = [y + (i - (len(columns) - 1) / 2) * height for y in range(len(rows))]
        axes.barh(at, [row.get(name) or 0.0 for row in rows], height, color=colour, label=name.split(" (")[0])
    if len(columns) > 1:
        axes.legend(loc="lower right")
    axes.set_title(title)
    axes.grid(False, axis="y")
    axes.set_axisbelow(True)
