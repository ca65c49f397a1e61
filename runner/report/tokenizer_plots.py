"""A table of tokenizers -> figures: what each makes of each kind of text, and what a larger vocabulary buys.

`python -m runner.report.tokenizer_plots table.json FOLDER`, by the last step of a run of kind `tokenizer`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Row = dict[str, Any]
SIZE = (8.4, 4.2)  # inches
# told apart by the colour-blind too (Okabe and Ito)
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
# from this share of unknown tokens on, a bar is hatched and a line dotted
UNKNOWN = 0.01
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
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
    """Writes `fertility` and `sizes`, each as PNG and SVG."""
    written = []
    with matplotlib.rc_context(_STYLE):
        for name, plot in (("fertility", _fertility), ("sizes", _sizes)):
            figure = Figure(figsize=SIZE, layout="constrained")
            FigureCanvasAgg(figure)
            plot(rows, figure)
            for suffix in ("png", "svg"):
                file = folder / f"{name}.{suffix}"
                figure.savefig(file, dpi=150, metadata={"Date": None} if suffix == "svg" else None)
                written.append(file)
    return written


def _fertility(rows: list[Row], figure: Figure) -> None:
    """Tokens per word by kind of text, and the share of lines that come back, of the largest vocabulary."""
    largest = max(row["vocab_size"] for row in rows)
    rows = [row for row in rows if row["vocab_size"] == largest]
    texts, algorithms = _kinds(rows, "text"), _kinds(rows, "algorithm")
    left, right = figure.subplots(1, 2)
    for axes, key, title in (
        (left, "tokens_per_word", f"Tokens per word, {largest:,} entries"),
        (right, "round_trip", "Lines that come back as they were"),
    ):
        width = 0.8 / len(algorithms)
        for at, algorithm in enumerate(algorithms):
            values = [next(r[key] for r in rows if r["text"] == t and r["algorithm"] == algorithm) for t in texts]
            places = [i - 0.4 + width * (at + 0.5) for i in range(len(texts))]
            unknown = [_unknown(rows, t, algorithm) for t in texts]
            bars = axes.bar(places, values, width * 0.92, label=algorithm, color=COLOURS[at])
            for x, value, bar, lost in zip(places, values, bars, unknown, strict=True):
                if lost:  # few tokens, because they say nothing
                    bar.set(hatch="////", edgecolor="white")
                text = f"{value:.1f}" if key == "tokens_per_word" else f"{value:.0%}"
                axes.text(x, value, text, ha="center", va="bottom", fontsize=7)
        axes.set_xticks(range(len(texts)), texts)
        axes.set_title(title)
        axes.yaxis.grid(True)
        axes.set_axisbelow(True)
    right.set_ylim(0, 1.08)
    right.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    left.legend(loc="upper left", title="hatched: unknown tokens among them", title_fontsize=7.5, alignment="left")


def _unknown(rows: list[Row], text: str, algorithm: str) -> bool:
    return any(r["unknown_rate"] > UNKNOWN for r in rows if r["text"] == text and r["algorithm"] == algorithm)


def _sizes(rows: list[Row], figure: Figure) -> None:
    """Characters per token by size of the vocabulary, a panel for each kind of text."""
    texts, algorithms = _kinds(rows, "text"), _kinds(rows, "algorithm")
    panels = figure.subplots(1, len(texts), sharey=True, squeeze=False)[0]
    for axes, text in zip(panels, texts, strict=True):
        for at, algorithm in enumerate(algorithms):
            found = sorted(
                (r["vocab_size"], r["characters_per_token"])
                for r in rows
                if r["text"] == text and r["algorithm"] == algorithm
            )
            line = "o:" if _unknown(rows, text, algorithm) else "o-"
            axes.plot([x for x, _ in found], [y for _, y in found], line, label=algorithm, color=COLOURS[at], ms=4)
        axes.set_xscale("log")
        sizes = sorted({r["vocab_size"] for r in rows})
        axes.set_xticks(sizes, [f"{s / 1000:g}k" for s in sizes])
        axes.minorticks_off()
        axes.set_title(text)
        axes.grid(True)
    panels[0].set_ylim(0)  # of all panels, and not before all are drawn
    panels[0].set_ylabel("characters per token")
    panels[len(panels) // 2].set_xlabel("entries of the vocabulary")
    panels[0].legend(loc="lower right", fontsize=8, title="dotted: unknown tokens among them", title_fontsize=7)


def _kinds(rows: list[Row], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


if __name__ == "__main__":
    for path in draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])):
        print(path)
