"""A sweep's children as figures: loss over tokens, size against speed and memory, and the load of experts over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.report.comparison_plots import COLOURS
from runner.report.figure import write_figure
from runner.report.sweep_table import Traced

# colours of a load: an even one is white, an expert without tokens blue, one with twice its share or more red
_MAP, _FULL = "RdBu_r", 2.0


def draw_children(children: Sequence[Traced], folder: Path) -> list[Path]:
    """Writes `losses`, `costs` and `experts`, each as PNG and SVG; what the children don't have is left out."""
    colours = {child.name: COLOURS[i % len(COLOURS)] for i, child in enumerate(children)}
    written = []
    if any(child.losses for child in children):
        written += write_figure((7.6, 4.4), lambda f: _losses(f, children, colours), folder / "losses")
    if children:
        size = (10.5, 1.3 + 0.34 * len(children))
        written += write_figure(size, lambda f: _costs(f, children, colours), folder / "costs")
    routed = [child for child in children if child.loads]
    if routed:
        written += write_figure(
            (10.5, 3.2 + 2.9 * _grid(routed)[0]), lambda f: _experts(f, routed, colours), folder / "experts"
        )
    return written


def _losses(figure: Any, children: Sequence[Traced], colours: dict[str, str]) -> None:
    axes = figure.subplots()
    for child in sorted(children, key=lambda c: c.losses[-1][1] if c.losses else math.inf):
        if child.losses:
            tokens, losses = zip(*child.losses, strict=True)
            axes.plot(tokens, losses, marker="o", ms=3.5, lw=1.5, color=colours[child.name],
                      label=f"{child.name}: {losses[-1]:.3f}")  # fmt: skip
    axes.set(title="Loss on held-out text, lowest at the end first", xlabel="tokens", ylabel="nats per token")
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.legend()


def _costs(figure: Any, children: Sequence[Traced], colours: dict[str, str]) -> None:
    """Of each child a bar in each panel; the part of its parameters that a token does not pass through is pale."""
    panels = figure.subplots(1, 4, sharey=True)
    for axes, key, title in zip(
        panels, ("params", "flops_per_token", "tokens/s", "peak GiB"),
        ("parameters (dark: active)", "FLOPs per token", "tokens per second", "peak memory, GiB"), strict=True,
    ):  # fmt: skip
        for y, child in enumerate(children):
            value = child.row.get(key)
            if value is None:
                continue
            pale = 0.35 if key == "params" else 1.0
            axes.barh(y, value, 0.68, color=colours[child.name], alpha=pale)
            if key == "params":
                axes.barh(y, child.row["active"], 0.68, color=colours[child.name])
            axes.annotate(short(value), (value, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.margins(x=0.28)
        axes.xaxis.set_major_locator(_few())
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.grid(False, axis="y")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(children)), [child.name for child in children])
    panels[0].invert_yaxis()


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)


def _grid(routed: Sequence[Traced]) -> tuple[int, int]:
    """Rows and columns of panels: as near to a square as it goes, three across at most."""
    across = min(3, math.ceil(math.sqrt(len(routed))))
    return math.ceil(len(routed) / across), across


def _experts(figure: Any, routed: Sequence[Traced], colours: dict[str, str]) -> None:
    down, across = _grid(routed)
    top, below = figure.subfigures(2, 1, height_ratios=[3.2, 2.9 * down])
    _busiest(top.subplots(), routed, colours)
    panels = below.subplots(down, across, squeeze=False)
    image = None
    for axes, child in zip(panels.flat, routed, strict=False):
        image = _load(axes, child)
    for axes in panels.flat[len(routed) :]:
        axes.set_axis_off()
    bar = below.colorbar(image, ax=panels, shrink=0.8, pad=0.01)
    bar.set_label("load, of an even share")


def _busiest(axes: Any, routed: Sequence[Traced], colours: dict[str, str]) -> None:
    """The line is the mean over the layers, the band goes from the most even layer to the least."""
    for child in routed:
        steps = sorted({step for step, _ in child.loads})
        most = [[line["most"] for (at, _), line in child.loads.items() if at == step] for step in steps]
        axes.fill_between(steps, [min(m) for m in most], [max(m) for m in most],
                          color=colours[child.name], alpha=0.12, lw=0)  # fmt: skip
        axes.plot(steps, [sum(m) / len(m) for m in most], color=colours[child.name], lw=1.6, label=child.name)
    axes.axhline(1, color="#111827", lw=0.8, ls=":")
    axes.set(title="The busiest expert: its share over an even one (dotted), mean and range of the layers",
             xlabel="step", ylabel="times an even share")  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _load(axes: Any, child: Traced) -> Any:
    """Each row is one expert, layer below layer; each column a report."""
    steps, layers = sorted({s for s, _ in child.loads}), sorted({layer for _, layer in child.loads})
    count = len(next(iter(child.loads.values()))["shares"])
    empty = {"shares": [math.nan] * count}
    columns = [
        [share * count for layer in layers for share in child.loads.get((step, layer), empty)["shares"]]
        for step in steps
    ]
    rows = list(zip(*columns, strict=True))
    last = steps[-1]
    image = axes.imshow(rows, aspect="auto", cmap=_MAP, vmin=0, vmax=_FULL, interpolation="nearest",
                        extent=(0, last, len(rows), 0))  # fmt: skip
    for i in range(1, len(layers)):
        axes.axhline(i * count, color="#111827", lw=0.6)
    axes.set_yticks(
        [(i + 0.5) * count for i in range(len(layers))], [f"layer {layer}" for layer in layers], fontsize=7.5
    )
    axes.set_title(f"{child.name}: {count} experts a layer", fontsize=9)
    axes.set_xlabel("step")
    axes.grid(False)
    return image


def short(value: float) -> str:
    """`1.2M`: three digits and a letter."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
