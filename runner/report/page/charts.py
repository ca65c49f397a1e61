"""Charts that the page draws itself: a loss curve of each recipe, and what was measured against what was predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from runner.project import Project
from runner.record import METRICS
from runner.report.curves import Curve, curve_of, panel
from runner.report.figure import EXPECTED, MEASURED
from runner.report.history import Summary
from runner.report.page.svg import drawn
from runner.report.page.types import Chart

CURVE_SIZE = (4.4, 2.9)  # inches
MARGINS = {"left": 0.14, "right": 0.98, "bottom": 0.165, "top": 0.97}
# panels of what was predicted: title, and the plan's names that it takes the first of
COMPARED = (
    ("memory, GiB", ("memory.peak_gib", "host.ram_gib")),
    ("tokens/s per GPU", ("speed.tokens_per_s_per_gpu",)),
    ("hours", ("time.hours",)),
)


def loss_chart(project: Project, summary: Summary) -> Chart | None:
    """Of a run that reported metrics. It is drawn again only when they have changed: pages are built often."""
    file = project.artifacts / summary.place / METRICS
    try:
        stat = file.stat()
    except OSError:
        return None
    return _loss_chart(file.parent, summary.recipe, summary.profile, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _loss_chart(run: Path, recipe: str, profile: str, changed: int, size: int) -> Chart | None:
    curve = curve_of(f"{recipe} ({profile})", run, {})
    if not any(len(points) > 1 for points in curve.points.values()):
        return None
    prefix = "c" + "".join(c if c.isalnum() else "-" for c in f"{recipe}-{profile}") + "-"

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        panel(axes, curve)
        axes.set_title("")  # the page says it
        axes.locator_params(nbins=5)  # a phone has no room for more
        axes.legend(loc="upper right" if "loss" in curve.points else "best")  # to look for the best place takes long

    return Chart(curve.name, drawn(CURVE_SIZE, draw, prefix, MARGINS), _in_words(curve))


def _in_words(curve: Curve) -> str:
    """`training loss 8.2 at step 1 to 1.1 at step 40`, of each metric that is drawn."""
    words = []
    for metric, points in curve.points.items():
        (first, start), (last, end) = points[0], points[-1]
        words.append(f"{metric.replace('_', ' ')} {start:.3g} at step {first:g} to {end:.3g} at step {last:g}")
    return "; ".join(words)


Point = tuple[float, float, str]  # predicted, measured, profile


def compared_chart(points: Mapping[str, Sequence[Point]]) -> Chart | None:
    """A panel for each of COMPARED that has points; equal lies on the line, the band is a fifth more or less."""
    kept = [(title, points[title]) for title, _ in COMPARED if points.get(title)]
    if not kept:
        return None

    def draw(figure: Any) -> None:
        for axes, (title, found) in zip(figure.subplots(1, len(kept), squeeze=False)[0], kept, strict=True):
            _scatter(axes, title, found)

    count = sum(len(found) for _, found in kept)
    told = f"{count} figures of runs, predicted against measured; each stands in the table below"
    return Chart("Measured against predicted", drawn((3.4 * len(kept), 3.4), draw, "p-"), told, len(kept) > 1)


def _scatter(axes: Any, title: str, found: Sequence[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = [value for said, got, _ in found for value in (said, got)]
    ends = [min(values) / 1.5, max(values) * 1.5]
    axes.fill_between(ends, [0.8 * e for e in ends], [1.2 * e for e in ends], color="#9ca3af", alpha=0.25, linewidth=0)
    axes.plot(ends, ends, color="#9ca3af", linewidth=1)
    for profile, colour, marker in (("smoke", MEASURED, "o"), ("full", EXPECTED, "D")):
        mine = [(said, got) for said, got, of in found if of == profile]
        if mine:
            axes.plot(*zip(*mine, strict=True), linestyle="none", marker=marker, markersize=4.5, color=colour,
                      alpha=0.8, label=profile)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, title=title, xlabel="predicted", ylabel="measured")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.legend(loc="upper left")
