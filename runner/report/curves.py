"""Runs -> loss curves, each beside what its recipe expects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.metrics import gone_through
from runner.record import read_metrics
from runner.report.figure import EXPECTED, MEASURED, write_figure

# drawn of any run that has them, in this order
SHOWN = ("loss", "eval_loss", "rewards/margins", "reward", "accuracy", "eval_accuracy", "best_loss")
_LOSSES = ("loss", "eval_loss", "best_loss")
_PANEL = (4.6, 3.2)  # inches
_ACROSS = 3


@dataclass(frozen=True, slots=True)
class Curve:
    """Points `(step, value)` of each metric of one run, and those that the recipe expects."""

    name: str
    points: dict[str, list[tuple[float, float]]]
    expected: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def compared(self) -> list[tuple[str, float, float, float | None]]:
        """`(metric, step, expected, measured)` of each expectation; the measured value is that of the closest report
        within a fiftieth of the run, None where there is none."""
        rows = []
        for metric, wanted in self.expected.items():
            found = self.points.get(metric, [])
            reach = max((step for step, _ in found), default=0) / 50
            for step, value in wanted:
                near = min(found, key=lambda point: abs(point[0] - step), default=None)
                close = near is not None and abs(near[0] - step) <= max(reach, 0.5)
                rows.append((metric, step, value, near[1] if close and near else None))
        return rows


def curve_of(name: str, run: Path, expected: dict[str, Any]) -> Curve:
    """From a run's metrics.jsonl; a step that was gone through twice counts as it was the last time."""
    rows = gone_through(read_metrics(run)[0])
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        for metric in (*SHOWN, *(m for m in expected if m not in SHOWN)):
            value = row.get(metric)
            if isinstance(value, (int, float)) and math.isfinite(value) and "step" in row:
                points.setdefault(metric, {})[float(row["step"])] = float(value)
    wanted = {metric: [(float(s), float(v)) for s, v in pairs] for metric, pairs in expected.items()}
    return Curve(name, {m: sorted(p.items()) for m, p in points.items()}, wanted)


def draw_curves(curves: Sequence[Curve], title: str, target: Path) -> list[Path]:
    """One panel for each run, PNG and SVG."""
    across = min(_ACROSS, len(curves))
    down = math.ceil(len(curves) / across)

    def draw(figure: Any) -> None:
        panels = figure.subplots(down, across, squeeze=False)
        for axes, curve in zip(panels.flat, curves, strict=False):
            _panel(axes, curve)
        for axes in panels.flat[len(curves) :]:
            axes.set_axis_off()
        if len(curves) > 1:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)

    size = (_PANEL[0] * across, _PANEL[1] * down) if len(curves) > 1 else (7.2, 4.4)
    return write_figure(size, draw, target)


def _panel(axes: Any, curve: Curve) -> None:
    axes.set_title(curve.name)
    axes.set_xlabel("children" if "best_loss" in curve.points else "step")
    metrics = [m for m in (*SHOWN, *curve.points) if m in curve.points]
    losses = [m for m in metrics if m in _LOSSES]
    for metric in dict.fromkeys(losses or metrics[:1]):
        points = curve.points[metric]
        held = metric == "eval_loss"
        steps, values = [s for s, _ in points], [v for _, v in points]
        if not held and len(points) > 60:
            axes.plot(steps, values, color=MEASURED, alpha=0.25, linewidth=0.8)
            steps, values = _smooth(points)
        style = {"marker": "o", "markersize": 4, "color": "#111111"} if held else {"color": MEASURED}
        axes.plot(steps, values, linewidth=1.4, label=_word(metric), **style)
        if wanted := curve.expected.get(metric):
            axes.plot(*zip(*wanted, strict=True), linestyle="none", marker="D", markersize=6, markerfacecolor="none",
                      markeredgewidth=1.6, color=EXPECTED, label=f"expected {_word(metric)}")  # fmt: skip
    axes.set_ylabel("loss, nats per token" if losses else _word(metrics[0]) if metrics else "")
    if metrics:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no metrics", ha="center", va="center", transform=axes.transAxes, color="#6b7280")


def _word(metric: str) -> str:
    words = {"loss": "training", "eval_loss": "validation", "best_loss": "best child"}
    return words.get(metric, metric.replace("_", " "))


def _smooth(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """A running mean over a thirtieth of the run, centred, so that it lags behind nothing."""
    half = max(1, len(points) // 60)
    values = [v for _, v in points]
    means = [
        sum(values[max(0, i - half) : i + half + 1]) / len(values[max(0, i - half) : i + half + 1])
        for i in range(len(values))
    ]
    return [s for s, _ in points], means
