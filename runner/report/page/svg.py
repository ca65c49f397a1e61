"""SVG of matplotlib -> SVG to stand in a page: its ids its own, its colours the page's, and nothing in it that acts.

A figure may have been written by a run, and a run's folder by anybody: what is not plain drawing is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from runner.report.figure import STYLE

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_DRAWING = frozenset({"svg", "g", "defs", "path", "use", "clipPath", "rect", "circle", "line", "polyline", "polygon",
                      "text", "tspan", "image", "linearGradient", "stop", "style", "title"})  # fmt: skip
_LARGEST = 3_000_000  # bytes
# for a point, at most: a figure's letters are then as large as the page's
_PIXELS = 1.55
# what figures are drawn with -> what the page calls it, so that they follow its light and dark
_COLOURS = {
    "#ffffff": "var(--card)", "#000000": "currentColor", "#111111": "currentColor", "#111827": "currentColor",
    "#33475b": "currentColor", "#e5e7eb": "var(--line)", "#9ca3af": "var(--axis)", "#6b7280": "var(--quiet)",
    "#1d4ed8": "var(--blue)", "#0072b2": "var(--blue)", "#c2410c": "var(--orange)", "#d55e00": "var(--orange)",
    "#b91c1c": "var(--red)", "#009e73": "var(--green)", "#cc79a7": "var(--pink)", "#e69f00": "var(--gold)",
}  # fmt: skip
_COLOUR = re.compile(r"(?<=: )(#[0-9a-f]{6})\b")
_REFERENCE = re.compile(r"url\(\s*([^)]*?)\s*\)")


def drawn(
    size: tuple[float, float], draw: Callable[[Any], None], prefix: str, margins: dict[str, float] | None = None
) -> str:
    """`draw(figure)` on an empty figure of `size` inches, as SVG for the page; its text stays text. `margins` are those
    of `subplots_adjust`: to find them by measuring its letters takes as long as the rest."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.fonttype": "none", "figure.facecolor": "none", "axes.facecolor": "none"}):
        figure = Figure(figsize=size, layout=None if margins else "tight")
        FigureCanvasSVG(figure)
        if margins:
            figure.subplots_adjust(**margins)
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    found = for_page(out.getvalue(), prefix)
    if found is None:
        raise ValueError("matplotlib drew what a page can't take")
    return found


def read_svg(file: Path, prefix: str) -> str | None:
    """None where it can't be read, or is no plain drawing."""
    try:
        if file.is_symlink() or file.stat().st_size > _LARGEST:
            return None
        return for_page(file.read_text(encoding="utf-8"), prefix)
    except (OSError, UnicodeError):
        return None


def for_page(text: str, prefix: str) -> str | None:
    """None where it is no SVG, or holds anything that runs, or that is fetched."""
    if "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities are refused above, and expat fetches nothing
    except ElementTree.ParseError:
        return None
    if root.tag != f"{{{SVG}}}svg":
        return None
    for above in list(root.iter()):
        for child in list(above):
            if _local(child) == "metadata":
                above.remove(child)
    if not all(_plain(element, prefix) for element in root.iter()):
        return None
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("class", "chart")
    root.set("style", f"max-width: {_width(root) * _PIXELS:.0f}px")
    root.set("aria-hidden", "true")
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    found = ElementTree.tostring(root, encoding="unicode")
    return _COLOUR.sub(lambda m: _COLOURS.get(m[1], m[1]), found)


def _width(root: ElementTree.Element) -> float:
    """In points, as matplotlib counts."""
    try:
        return float(root.get("viewBox", "").split()[2])
    except (IndexError, ValueError):
        return 300.0


def _local(element: ElementTree.Element) -> str:
    return element.tag.removeprefix(f"{{{SVG}}}") if isinstance(element.tag, str) else ""


def _plain(element: ElementTree.Element, prefix: str) -> bool:
    """Whether it only draws; its ids, and references to them, get the prefix."""
    name = _local(element)
    if name not in _DRAWING:
        return False
    if name == "style":
        # matplotlib's one rule, which in a page would be of the page
        element.text = ""
    for key, value in list(element.attrib.items()):
        attribute = key.rpartition("}")[2].lower()
        if attribute.startswith("on"):
            return False
        if attribute == "href":
            if value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif not (name == "image" and value.startswith("data:image/png;base64,")):
                return False
        elif attribute == "id":
            element.set(key, f"{prefix}{value}")
        elif "url" in value.lower():
            if any(not m[1].startswith("#") for m in _REFERENCE.finditer(value)) or "url(" not in value:
                return False
            element.set(key, _REFERENCE.sub(lambda m: f"url(#{prefix}{m[1][1:]})", value))
    return True
