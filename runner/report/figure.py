"""What every figure of ours looks like, and how it is written: PNG to look at, SVG to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

DOTS = 160
MEASURED, EXPECTED = "#1d4ed8", "#c2410c"
STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#9ca3af",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "runner",  # the same figure makes the same file
    "svg.fonttype": "path",
}


def write_figure(size: tuple[float, float], draw: Callable[[Any], None], target: Path) -> list[Path]:
    """`draw(figure)` on an empty figure of `size` inches, written to `target` with .png and .svg for its suffix.

    Returns the two files.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    target.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        written = [target.with_suffix(suffix) for suffix in (".png", ".svg")]
        for file in written:
            # no date in it, so that the same figure is the same file
            figure.savefig(file, dpi=DOTS, metadata={"Date": None} if file.suffix == ".svg" else None)
    return written
