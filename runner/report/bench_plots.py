"""A benchmark's table -> figures: latency against throughput, a line for each endpoint.

`python -m runner.report.bench_plots table.json FOLDER`, by the last step of a run of kind `bench`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Row = dict[str, Any]
# inches: of each panel, and of what stands around them
PANEL, MARGIN = (4.2, 3.4), 0.6
# told apart by the colour-blind too (Okabe and Ito)
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
LATENCIES = (
    ("ttft", "predicted_ttft_ms", "time to first token (ms)"),
    ("tpot", "predicted_tpot_ms", "time per output token after the first (ms)"),
)
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "runner",  # the same table draws the same file
    "svg.fonttype": "path",
}


def draw(rows: list[Row], folder: Path) -> list[Path]:
    """Writes `latency-throughput` of cells with a fixed concurrency, and `rates` where requests came at rates; each as
    PNG and SVG. Cells without figures are left out."""
    measured = [row for row in rows if row["output_tokens_per_s"] is not None and row["ttft_p50_ms"] is not None]
    written = []
    with matplotlib.rc_context(_STYLE):
        for name, mode, plot in (("latency-throughput", "concurrency", _latencies), ("rates", "rate", _rates)):
            if chosen := [row for row in measured if row["mode"] == mode]:
                written += _save(plot(chosen, _colours(rows)), folder, name)
    return written


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    FigureCanvasAgg(figure)
    files = [folder / f"{name}.{suffix}" for suffix in ("png", "svg")]
    for file in files:
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def _colours(rows: list[Row]) -> dict[str, str]:
    names = list(dict.fromkeys(row["endpoint"] for row in rows))
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def _shapes(rows: list[Row]) -> list[tuple[int, int]]:
    return list(dict.fromkeys((row["input_len"], row["output_len"]) for row in rows))


def _panels(count: int) -> tuple[Figure, list[list[Axes]]]:
    """Two rows of `count` panels."""
    size = (max(6.4, PANEL[0] * count + MARGIN), PANEL[1] * 2 + MARGIN)
    figure = Figure(figsize=size, layout="constrained")
    return figure, [list(row) for row in figure.subplots(2, count, squeeze=False)]


def _latencies(rows: list[Row], colours: dict[str, str]) -> Figure:
    """Median and 99th percentile; dashed what the plan predicted."""
    shapes = _shapes(rows)
    figure, panels = _panels(len(shapes))
    for (name, predicted, label), line in zip(LATENCIES, panels, strict=True):
        for (into, out), axes in zip(shapes, line, strict=True):
            for endpoint, colour in colours.items():
                found = _of(rows, endpoint, into, out)
                if not found:
                    continue
                rate = [row["output_tokens_per_s"] for row in found]
                middle, high = ([row[f"{name}_p{p}_ms"] for row in found] for p in (50, 99))
                axes.plot(rate, middle, "o-", color=colour, ms=4, label=endpoint)
                axes.fill_between(rate, middle, high, color=colour, alpha=0.12, linewidth=0)
                for row, x, y in zip(found, rate, middle, strict=True):
                    axes.annotate(
                        str(row["concurrency"]), (x, y), textcoords="offset points", xytext=(4, 4), fontsize=6.5
                    )
                told = [
                    (row["predicted_output_tokens_per_s"], row[predicted])
                    for row in found
                    if row[predicted] is not None and row["predicted_output_tokens_per_s"] is not None
                ]
                axes.plot([x for x, _ in told], [y for _, y in told], "--", color=colour, lw=1, alpha=0.8)
            axes.set_title(f"{into:,} tokens in, {out:,} out")
            axes.set_yscale("log")
            axes.grid(True)
        line[0].set_ylabel(label)
    for axes in panels[-1]:
        axes.set_xlabel("output tokens per second")
    panels[0][0].legend(fontsize=8, title="median, shaded to p99; by requests at a time", title_fontsize=7)
    return figure


def _of(rows: list[Row], endpoint: str, into: int, out: int) -> list[Row]:
    found = [r for r in rows if r["endpoint"] == endpoint and (r["input_len"], r["output_len"]) == (into, out)]
    return sorted(found, key=lambda r: r["concurrency"] or r["rate"])


def _rates(rows: list[Row], colours: dict[str, str]) -> Figure:
    """Goodput and the first token's 99th percentile, against the rate at which requests came."""
    shapes = _shapes(rows)
    figure, panels = _panels(len(shapes))
    for (into, out), upper, lower in zip(shapes, *panels, strict=True):
        for endpoint, colour in colours.items():
            found = _of(rows, endpoint, into, out)
            if not found:
                continue
            rate = [row["rate"] for row in found]
            good = [
                row["goodput_per_s"] if row["goodput_per_s"] is not None else row["requests_per_s"] for row in found
            ]
            upper.plot(rate, good, "o-", color=colour, ms=4, label=endpoint)
            lower.plot(rate, [row["ttft_p99_ms"] for row in found], "o-", color=colour, ms=4)
        most = max(row["rate"] for row in rows)
        upper.plot([0, most], [0, most], ":", color="#9ca3af", lw=1)
        upper.set_title(f"{into:,} tokens in, {out:,} out")
        lower.set_yscale("log")
        lower.set_xlabel("requests that came per second")
        for axes in (upper, lower):
            axes.grid(True)
    in_time = any(row["goodput_per_s"] is not None for row in rows)
    panels[0][0].set_ylabel("goodput per second" if in_time else "answered per second")
    panels[1][0].set_ylabel("time to first token, p99 (ms)")
    panels[0][0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    for path in draw(json.loads(Path(sys.argv[1]).read_text())["rows"], Path(sys.argv[2])):
        print(path)
