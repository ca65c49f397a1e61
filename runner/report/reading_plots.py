"""Rows of reading (jobs/rag/evaluate/reading.py) -> a figure: what is right by how many passages, and by their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RIGHT, THERE, GROUPS = "#0072b2", "#999999", ("#009e73", "#d55e00", "#cc79a7")

Rows = Sequence[dict[str, Any]]


def draw_reading(figure: Any, rows: Rows) -> None:
    own = rows[0]["chunk_size"]
    counts = sorted((r for r in rows if r["chunk_size"] == own and not r["control"]), key=lambda r: r["passages"])
    control = [r for r in rows if r["control"]]
    top = control[0]["passages"] if control else counts[-1]["passages"]
    sizes = sorted((r for r in rows if r["passages"] == top and not r["control"]), key=lambda r: r["chunk_size"])
    panels = figure.subplots(1, 2 if len(sizes) > 1 else 1, sharey=True, squeeze=False)[0]
    _lines(panels[0], counts, "passages", control)
    panels[0].set(title=f"Passages shown, of {own} tokens; 0 is closed book", xlabel="passages shown", ylim=(0, 1.05))
    if len(sizes) > 1:
        _lines(panels[1], sizes, "chunk_size", ())
        panels[1].set(title=f"Size of passages, {top} shown", xlabel="tokens of a passage")
    panels[0].legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)


def _lines(axes: Any, rows: Rows, key: str, control: Rows) -> None:
    places = range(len(rows))  # evenly: sizes and counts double
    axes.plot(places, [r["recall"] for r in rows], color=THERE, marker="s", linestyle="--", label="answer was shown")
    axes.plot(places, [r["exact"] for r in rows], color=RIGHT, marker="o", label="exact match")
    for group, colour in zip(rows[0]["groups"], GROUPS, strict=False):
        values = [r["groups"][group] for r in rows]
        axes.plot(places, values, color=colour, marker=".", linewidth=1, label=f"exact match, {group}")
    for each in control:
        at = next((n for n, r in enumerate(rows) if r[key] == each[key]), None)
        if at is not None:
            axes.plot([at], [each["exact"]], color=RIGHT, marker="x", linestyle="", label="another question's passages")
    axes.set_xticks(list(places), [str(r[key]) for r in rows])
