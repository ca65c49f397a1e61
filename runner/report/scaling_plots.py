"""Fit -> plots: isoFLOP curves with minima, loss over N and D, predicted against measured, and what lies beyond."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from runner.report.figure import DOTS, STYLE
from runner.scaling.laws import Array
from runner.scaling.optimum import allocation
from runner.scaling.points import FLOPS_PER_TOKEN, budgets
from runner.scaling.types import Fit

Axes = Any
SIZE = (7.2, 4.8)  # inches
COLOURS = "viridis"
MEASURED, LAW, OUT, BEST = "#33475b", "#c2410c", "#b91c1c", "#111111"
_MOST_BUDGETS = 9
_DRAWN = 200  # bootstrap samples that a band is made of


def draw(fit: Fit, out: Path) -> list[Path]:
    """Writes each plot as PNG and SVG; those that a law or its runs have nothing for are left out."""
    plots: dict[str, Callable[[Fit, Axes], bool]] = {
        "isoflop": _isoflop,
        "contours": _contours,
        "predicted": _predicted,
        "extrapolation": _extrapolation,
    }
    written: list[Path] = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", UserWarning)
        for name, plot in plots.items():
            figure = Figure(figsize=SIZE, layout="constrained")
            FigureCanvasAgg(figure)
            if not plot(fit, figure.add_subplot()):
                continue
            for kind in ("png", "svg"):
                file = out / f"{name}.{kind}"
                figure.savefig(file, dpi=DOTS, metadata={"Date": None} if kind == "svg" else None)
                written.append(file)
    return written


def _isoflop(fit: Fit, ax: Axes) -> bool:
    """Loss over model size, a curve for each budget, its minimum marked."""
    p, e = fit.points, fit.estimate
    groups = [g for g in budgets(p.flops) if len(g) >= 4]
    if len(groups) < 2:
        return False
    groups = sorted(sorted(groups, key=len, reverse=True)[:_MOST_BUDGETS], key=lambda g: p.flops[g[0]])
    colours = colormaps[COLOURS](np.linspace(0.0, 0.88, len(groups)))
    used = fit.used.astype(bool)
    for group, colour in zip(groups, colours, strict=True):
        flops = float(np.exp(np.mean(np.log(p.flops[group]))))
        ax.plot(p.params[group], p.loss[group], "o", ms=3.6, color=colour, alpha=0.8, mew=0, label=f"{flops:.1e}")
        gone = group[~used[group]]
        ax.plot(p.params[gone], p.loss[gone], "x", ms=7, color=OUT, mew=1.4)
        n = np.geomspace(p.params[group].min() / 1.15, p.params[group].max() * 1.15, 200)
        curve = _curve(fit, group, n, flops)
        if curve is not None:
            ax.plot(n, curve, "-", lw=1.3, color=colour)
        best = _best(fit, group, flops)
        if best is not None and n[0] <= best[0] <= n[-1]:
            ax.plot(*best, "D", ms=6, color=colour, mec=BEST, mew=0.9, zorder=5)
    ax.set(
        xscale="log", xlabel="parameters", ylabel="loss", title=f"isoFLOP curves ({e.law}); the diamonds are the minima"
    )
    _limits(ax, p.loss[used])
    _ticks(ax.xaxis)
    ax.legend(title="FLOPs", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return True


def _curve(fit: Fit, group: Array, n: Array, flops: float) -> Array | None:
    """Loss over sizes at a budget: its parabola, or the law's own."""
    if fit.estimate.law == "envelope":
        return None
    if fit.estimate.minima:
        mine = set(_kept(fit, group).tolist())
        found = next((m for m in fit.estimate.minima if mine & set(m.indices)), None)
        return None if found is None else np.exp(np.polyval(found.fitted, np.log(n)))
    d = flops / (FLOPS_PER_TOKEN * n)
    curve: Array = fit.estimate.predict(fit.estimate.values[None], n, d, d)[0]
    return curve


def _kept(fit: Fit, group: Array) -> Array:
    """Places of a group's runs among those that were counted."""
    place = np.cumsum(fit.used).astype(int) - 1
    inside: Array = place[group[fit.used[group].astype(bool)]]
    return inside


def _best(fit: Fit, group: Array, flops: float) -> tuple[float, float] | None:
    kept = {int(i) for i in _kept(fit, group)}
    for m in fit.estimate.minima:
        if kept & set(m.indices) and abs(np.log(m.flops / flops)) < 0.3:
            return m.params, m.loss
    if fit.estimate.minima:
        return None
    n, d = allocation(fit.estimate.law, fit.estimate.values[None], np.array([flops]))
    loss = float(fit.estimate.predict(fit.estimate.values[None], n[0], d[0], d[0])[0, 0])
    return (float(n[0, 0]), loss) if np.isfinite(n[0, 0]) else None


def _contours(fit: Fit, ax: Axes) -> bool:
    """Lines of equal loss over N and D, the runs, and the best N and D for each budget."""
    e, p = fit.estimate, fit.points
    if e.law == "envelope":
        return False
    n = np.geomspace(p.params.min() / 1.6, p.params.max() * 1.6, 160)
    d = np.geomspace(p.tokens.min() / 1.6, p.tokens.max() * 1.6, 160)
    grid_n, grid_d = np.meshgrid(n, d)
    flat_d = grid_d.ravel()
    loss = e.predict(e.values[None], grid_n.ravel(), flat_d, flat_d)[0].reshape(grid_n.shape)
    used = fit.used.astype(bool)
    low, high = float(loss.min()), float(np.quantile(p.loss[used], 0.995) * 1.08)
    levels = low + (high - low) * np.linspace(0.02, 1, 14) ** 1.5
    lines = ax.contour(grid_n, grid_d, loss, levels=levels, cmap=COLOURS + "_r", linewidths=1.0)
    ax.clabel(lines, lines.levels[::2], fmt="%.2f", fontsize=7.5)
    shown = ax.scatter(
        p.params[used],
        p.tokens[used],
        c=p.loss[used],
        cmap=COLOURS + "_r",
        vmin=low,
        vmax=high,
        s=14,
        lw=0.3,
        edgecolors="white",
        zorder=3,
    )
    if not used.all():
        ax.plot(p.params[~used], p.tokens[~used], "x", color=OUT, ms=7, mew=1.4, label="left out")
    flops = np.geomspace(p.flops.min() / 1e3, p.flops.max() * 1e3, 90)  # the line goes beyond the picture
    best_n, best_d = allocation(e.law, e.values[None], flops)
    drawn_n, drawn_d = (np.log(x) for x in allocation(e.law, e.draws[:_DRAWN], flops))
    good = np.isfinite(drawn_n + drawn_d).all(axis=1) & (np.diff(drawn_d, axis=1) > 0).all(axis=1)
    if good.any():
        # which parameters at equal tokens: the band lies across the line
        pairs = zip(drawn_n[good], drawn_d[good], strict=True)
        sizes = np.array([np.interp(np.log(d), row_d, row_n) for row_n, row_d in pairs])
        left, right = np.exp(np.quantile(sizes, [0.025, 0.975], axis=0))
        ax.fill_betweenx(d, left, right, color=LAW, alpha=0.14, lw=0)
    ax.plot(best_n[0], best_d[0], "-", color=LAW, lw=1.8, label="best for each budget, 95%")
    ax.set(xscale="log", yscale="log", xlim=(n[0], n[-1]), ylim=(d[0], d[-1]))
    ax.set(xlabel="parameters", ylabel="tokens", title=f"lines of equal loss ({e.law})")
    ax.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
    ax.figure.colorbar(shown, ax=ax, label="loss measured", pad=0.01)
    _ticks(ax.xaxis)
    _ticks(ax.yaxis)
    return True


def _predicted(fit: Fit, ax: Axes) -> bool:
    """Measured over predicted loss, and the line on which they are equal."""
    p = fit.points
    if fit.estimate.law == "envelope":
        return False
    predicted = p.loss / np.exp(fit.residuals)
    used = fit.used.astype(bool)
    shown = ax.scatter(
        predicted[used], p.loss[used], c=np.log10(p.flops[used]), cmap=COLOURS, s=15, lw=0, alpha=0.9, zorder=3
    )
    if not used.all():
        ax.plot(predicted[~used], p.loss[~used], "x", color=OUT, ms=7, mew=1.4, label="left out")
    low, high = min(predicted.min(), p.loss.min()) * 0.99, max(predicted.max(), p.loss.max()) * 1.01
    ax.plot([low, high], [low, high], "-", color=LAW, lw=1.2, label="equal")
    kept = [o for o in fit.outliers if o.used]
    if kept:
        x, y = [o.predicted for o in kept], [p.loss[o.index] for o in kept]
        ax.scatter(x, y, s=60, facecolors="none", edgecolors=OUT, lw=1.0, label="far off, counted")
    for o in fit.outliers[:6]:
        ax.annotate(
            o.place.rsplit(":", 1)[-1],
            (o.predicted, p.loss[o.index]),
            xytext=(7, -3),
            textcoords="offset points",
            fontsize=7.5,
            color=OUT,
        )
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    numbers = "; numbers are lines of the table" if fit.outliers else ""
    ax.set(
        xlabel="loss predicted",
        ylabel="loss measured",
        title=f"measured against predicted ({fit.estimate.law}){numbers}",
    )
    ax.legend(loc="upper left")
    ax.figure.colorbar(shown, ax=ax, label="log10 FLOPs", pad=0.01)
    return True


def _extrapolation(fit: Fit, ax: Axes) -> bool:
    """The lowest loss of each budget, and what the law foretells of it with its interval, a hundred times beyond."""
    e, p = fit.estimate, fit.points
    used = fit.used.astype(bool)
    flops = np.geomspace(p.flops.min(), p.flops.max() * 100, 120)
    middle, drawn = _lowest(fit, e.values[None], flops), _lowest(fit, e.draws[:_DRAWN], flops)
    if not np.isfinite(middle).all():
        return False
    ax.scatter(p.flops[used], p.loss[used], s=12, color=MEASURED, alpha=0.45, lw=0, label="runs")
    if not used.all():
        ax.plot(p.flops[~used], p.loss[~used], "x", color=OUT, ms=7, mew=1.4, label="left out")
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    if len(drawn):
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        ax.fill_between(flops, low, high, color=LAW, alpha=0.18, lw=0, label="95% interval")
    ax.plot(flops, middle[0], "-", color=LAW, lw=1.8, label=f"{e.law}: lowest loss at each budget")
    top = float(p.flops.max())
    ax.axvspan(top, flops[-1], color="#f3f4f6", zorder=0)
    ax.annotate("beyond the runs", (top * 1.3, 0.62), xycoords=("data", "axes fraction"), fontsize=8.5, color="#6b7280")
    floor = float(dict(zip(e.names, e.values, strict=True)).get("E", 0.0))
    if floor > 0.3 * p.loss[used].min():
        ax.axhline(floor, color="#6b7280", lw=1.0, ls=(0, (4, 3)), label=f"E = {floor:.3f}")
    ax.set(xscale="log", xlabel="FLOPs", ylabel="loss", title="lowest loss at each budget, and a hundred times beyond")
    ax.set_xlim(flops[0] / 1.3, flops[-1])
    bottom = min(floor or np.inf, float(middle.min()), float(p.loss[used].min()))
    _limits(ax, np.append(p.loss[used], bottom))
    ax.legend(loc="upper right")
    return True


def _lowest(fit: Fit, values: Array, flops: Array) -> Array:
    """Loss at the best N and D of each budget, (rows, budgets)."""
    if not len(values):
        return np.empty((0, len(flops)))
    n, d = allocation(fit.estimate.law, values, flops)
    rows = [fit.estimate.predict(values[[i]], n[i], d[i], d[i])[0] for i in range(len(values))]
    return np.stack(rows)


def _limits(ax: Axes, loss: Array) -> None:
    """Losses of most runs fill the plot; the worst few, which tell least, may lie outside."""
    low, high = float(loss.min()), float(np.quantile(loss, 0.99))
    room = 0.06 * (high - low)
    ax.set_ylim(low - room, high + 2 * room)


def _ticks(axis: Any) -> None:
    """`300 M`, `1 B` at 1, 3, 10 and so on, where there is room."""
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    for size, letter in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
