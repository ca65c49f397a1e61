"""A comparison as figures: what each run scored, and the paired differences with their intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.comparison.compare import MEAN, Comparison
from runner.comparison.runs import Compared, figures
from runner.comparison.tables import Row
from runner.report.curves import smooth
from runner.report.figure import write_figure
from runner.report.quantization_plots import draw_quantization

# told apart by the colour-blind too (Okabe and Ito)
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#000000")
# bars of what a run took, in this order
COSTS = ("peak (GiB)", "host RAM (GiB)", "speed (tok/s per GPU)", "step (s)", "hours in all", "cost (USD)")
# what fits on one page
MOST = 40


def draw(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes `losses`, `costs`, `scores`, `differences` and `quantization`, each as PNG and SVG; what has no rows is
    left out."""
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
    if any(run.losses for run in comparison.runs):
        written += write_figure((7.2, 4.4), lambda f: draw_losses(f, comparison.runs), folder / "losses")
    if names := costs_of(comparison.runs):
        size = (2.6 * len(names) + 0.6, 1.5 + 0.42 * len(comparison.runs))
        written += write_figure(size, lambda f: _costs(f, comparison.runs, names), folder / "costs")
    return written


def draw_losses(figure: Any, runs: Sequence[Compared]) -> None:
    """Training loss against steps, all runs on one panel; faint what each step had, strong its running mean."""
    axes = figure.subplots()
    for run, colour in zip(runs, COLOURS * len(runs), strict=False):
        if not run.losses:
            continue
        steps, means = smooth(run.losses)
        if len(run.losses) > 20:
            axes.plot(*zip(*run.losses, strict=True), color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(steps, means, color=colour, linewidth=1.6, label=run.label)
    axes.set(xlabel="step", ylabel="training loss, nats per token", title="Training loss")
    axes.legend()


def costs_of(runs: Sequence[Compared]) -> list[str]:
    """Figures of memory, speed and money that at least two runs have."""
    known = [figures(run) for run in runs]
    return [name for name in COSTS if sum(name in found for found in known) > 1]


def _costs(figure: Any, runs: Sequence[Compared], names: Sequence[str]) -> None:
    found = [figures(run) for run in runs]
    for axes, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        values = [row.get(name) or 0.0 for row in found]
        bars = axes.barh(range(len(runs)), values, 0.6, color=[COLOURS[i % len(COLOURS)] for i in range(len(runs))])
        axes.bar_label(bars, [f"{v:.3g}" if v else "-" for v in values], padding=3, fontsize=8)
        axes.set_title(name, fontsize=9.5)
        axes.set_xlim(0, max(values) * 1.25)
        axes.grid(False, axis="y")
        axes.set_axisbelow(True)
        axes.set_yticks(range(len(runs)), [run.label for run in runs])
        axes.invert_yaxis() if axes is figure.axes[0] else None


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
