"""A summary of retrieval -> figures: what each variant finds, with its times, and how it differs from the first.

`python -m runner.report.rag_plots results/summary.json FOLDER`, by the last step of a run of kind `rag`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner.report.figure import write_figure
from runner.report.reading_plots import draw_reading

# told apart by the colour-blind too (Okabe and Ito)
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
# of time, in the order in which they take place
STAGES = ("rewrite", "embed", "lexical", "dense", "fuse", "fetch", "rerank")


def draw(summary: dict[str, Any], folder: Path) -> list[Path]:
    """Writes `found` and `times`, and with several variants `differences`, and `reading` where the
    model was asked for short answers, each as PNG and SVG."""
    variants = summary["variants"]
    height = 1.4 + 0.34 * len(variants)
    written = write_figure((8.4, height), lambda figure: _found(figure, summary), folder / "found")
    written += write_figure((8.4, height), lambda figure: _times(figure, variants), folder / "times")
    if len(variants) > 1:
        written += write_figure((7.0, height), lambda figure: _differences(figure, summary), folder / "differences")
    if read := summary.get("reading"):
        written += write_figure((8.4, 4.2), lambda figure: draw_reading(figure, read), folder / "reading")
    return written


def _found(figure: Any, summary: dict[str, Any]) -> None:
    """The headline's metric over all questions, and over each kind of them."""
    variants, groups = summary["variants"], summary["questions"]["groups"]
    metric = summary["headline"]
    panels = [(f"{metric}, all {summary['questions']['n']}", [v["metrics"][metric] for v in variants])]
    panels += [(f"{group}, {count}", [v["groups"][group] for v in variants]) for group, count in groups.items()]
    for n, (axes, (title, values)) in enumerate(zip(_panels(figure, len(panels)), panels, strict=True)):
        bars = axes.barh([v["name"] for v in variants], values, color=COLOURS[0] if n == 0 else "#9db8d9")
        axes.bar_label(bars, fmt="%.3f", padding=2, fontsize=8)
        axes.set(title=title, xlim=(0, 1.25), xticks=(0, 0.5, 1))
        axes.grid(False, axis="y")
    axes.invert_yaxis()


def _panels(figure: Any, count: int) -> list[Any]:
    made = figure.subplots(1, count, sharey=True, squeeze=False)
    return list(made[0])


def _times(figure: Any, variants: list[dict[str, Any]]) -> None:
    """Medians of the stages one after another, and where 95 of 100 questions are answered."""
    axes = figure.subplots()
    names = [v["name"] for v in variants]
    ends = [0.0] * len(variants)
    for stage, colour in zip(STAGES, COLOURS, strict=True):
        widths = [v["latency_ms"].get(stage, {}).get("p50", 0.0) for v in variants]
        if any(widths):
            axes.barh(names, widths, left=ends, color=colour, label=stage)
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
    axes.scatter([v["latency_ms"]["total"]["p95"] for v in variants], names, color="black", marker="|", s=120)
    axes.set(
        title="Milliseconds of a question: medians of the stages (BM25 runs beside embedding); the mark is p95 of all"
    )
    axes.set_axisbelow(True)
    axes.grid(False, axis="y")
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _differences(figure: Any, summary: dict[str, Any]) -> None:
    axes = figure.subplots()
    first, *others = summary["variants"]
    gaps = [v["difference"] for v in others]
    middles = [gap["difference"] for gap in gaps]
    spread = [[gap["difference"] - gap["low"] for gap in gaps], [gap["high"] - gap["difference"] for gap in gaps]]
    axes.errorbar(middles, [v["name"] for v in others], xerr=spread, fmt="o", color=COLOURS[0], capsize=3)
    axes.axvline(0, color="#6b7280", linewidth=0.8)
    axes.set(title=f"{summary['headline']} less that of `{first['name']}`, 95% over questions")
    axes.margins(y=0.3)
    axes.invert_yaxis()


def main(argv: list[str]) -> None:
    for file in draw(json.loads(Path(argv[0]).read_text()), Path(argv[1])):
        print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
