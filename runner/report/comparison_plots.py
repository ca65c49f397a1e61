"""A comparison as figures: what each run scored, and the paired differences with their intervals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from runner.comparison.compare import MEAN, Comparison
from runner.comparison.tables import Row
from runner.report.figure import write_figure
from runner.report.quantization_plots import draw_quantization

# told apart by the colour-blind too (Okabe and Ito)
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#000000")
# what fits on one page
MOST = 40


def draw(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes `scores`, `differences` and `quantization`, each as PNG and SVG; what has no rows is left out."""
    written: list[Path] = draw_quantization(comparison.scores.rows, folder)
    names = [c for c in comparison.scores.columns if f"{c} stderr" in comparison.scores.columns][:MOST]
    if names:
        size = (max(5.0, 1.2 + 0.35 * len(names) * max(2, len(comparison.scores.rows))), 4.0)
        written += write_figure(
            (min(size[0], 16), size[1]), lambda f: _scores(f, comparison.scores.rows, names), folder / "scores"
        )
    pairs = _one_each(comparison.pairs.rows)[:MOST]
    if pairs:
        written += write_figure(
            (8.0, 1.2 + 0.28 * len(pairs)), lambda f: _differences(f, pairs), folder / "differences"
        )
    return written


def _one_each(rows: list[Row]) -> list[Row]:
    """Grouped by task, so that the pairs of one stand together."""
    order = {task: i for i, task in enumerate(dict.fromkeys(row["task"] for row in rows))}
    return sorted(rows, key=lambda row: (row["task"] == MEAN, order[row["task"]]))


def _scores(figure: Any, rows: list[Row], names: list[str]) -> None:
    axes = figure.subplots()
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        at = [x - 0.4 + (i + 0.5) * width for x in range(len(names))]
        heights = [row.get(name) if row.get(name) is not None else float("nan") for name in names]
        spread = [row.get(f"{name} stderr") or 0.0 for name in names]
        axes.bar(at, heights, width * 0.92, yerr=spread, label=row["run"], color=COLOURS[i % len(COLOURS)], capsize=2)
    axes.set_xticks(range(len(names)), [re.sub(r" (?=\S+$)", "\n", name) for name in names], fontsize=7.5)
    if len(names) > 6:
        axes.tick_params(axis="x", rotation=60)
    axes.set_title("Scores, with their standard errors")
    axes.grid(False, axis="x")
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _differences(figure: Any, rows: list[Row]) -> None:
    axes = figure.subplots()
    for y, row in enumerate(rows):
        colour = COLOURS[0] if row["clear"] else COLOURS[6]
        axes.plot([row["low"], row["high"]], [y, y], color=colour, lw=1.6)
        axes.plot(row["difference"], y, "o", color=colour, ms=4.5)
    axes.axvline(0, color="#111827", lw=0.8)
    labels = [f"{r['task']} {r['metric'] or ''}: {r['second']} - {r['first']}" for r in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7.5)
    axes.invert_yaxis()
    axes.set_title("Paired differences, with their intervals (grey: nothing is shown to differ)", fontsize=9)
