"""A sweep's design -> its points: what each child changes in the base, and what it is called."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from runner.diagnostics import Span
from runner.recipe.document import Document, Node, make_node, merge, parse_path

# of a point: what is not a key of the child
_OWN = ("name", "base")


@dataclass(frozen=True, slots=True)
class Point:
    """One child: `overlay` are the keys that it changes, standing where the design has them; `axes` what varies, for
    tables. `base` is its own base where it names one, `budget` the FLOPs it may spend where the design gives some."""

    name: str
    span: Span
    overlay: Node
    axes: dict[str, Any] = field(default_factory=dict)
    base: Node | None = None
    budget: Node | None = None


def points_of(doc: Document) -> list[Point]:
    """Every combination of the design's parts: points or isoFLOP, times grid, times seeds; empty without a design."""
    found = [*_listed(doc), *_isoflop(doc)]
    combinations, seeds = list(_grid(doc)), list(_seeds(doc))
    if not found and not combinations and not seeds:
        return []
    whole = [Point("", doc.root.span, make_node({}, doc.root.span))]
    parts = [found or whole, combinations or whole, seeds or whole]
    return [_joined(*each) for each in itertools.product(*parts)]


def _joined(*parts: Point) -> Point:
    first = next((p for p in parts if p.name), parts[0])
    overlay, axes = parts[0].overlay, dict(parts[0].axes)
    for part in parts[1:]:
        overlay = merge(overlay, part.overlay)
        axes |= part.axes
    name = "-".join(p.name for p in parts if p.name)
    return Point(name, first.span, overlay, axes, parts[0].base, parts[0].budget)


def _listed(doc: Document) -> Iterator[Point]:
    node = doc.keys.get("points")
    for item in node.value if node is not None and isinstance(node.value, list) else ():
        given = item.value if isinstance(item.value, dict) else {}
        name = str(given["name"].value)
        overlay = Node({k: v for k, v in given.items() if k not in _OWN}, item.span, item.key)
        yield Point(slug(name), given["name"].span, overlay, {"point": name}, given.get("base"))


def _isoflop(doc: Document) -> Iterator[Point]:
    budgets, sizes = doc.find("isoflop.budgets"), doc.find("isoflop.sizes")
    if budgets is None or sizes is None:
        return
    assert isinstance(budgets.value, list)
    assert isinstance(sizes.value, list)
    for budget in budgets.value:
        for number, size in enumerate(sizes.value, 1):
            flops = float(str(budget.value))
            yield Point(f"c{slug(f'{flops:.3g}')}-s{number}", size.span, size, {"budget": flops}, budget=budget)


def _grid(doc: Document) -> Iterator[Point]:
    node = doc.keys.get("grid")
    axes = node.value if node is not None and isinstance(node.value, dict) else {}
    if not axes:
        return
    lists = [[(key, value) for value in listed.value] for key, listed in axes.items() if isinstance(listed.value, list)]
    for chosen in itertools.product(*lists):
        overlay = make_node({}, chosen[0][1].span)
        for key, value in chosen:
            overlay = merge(overlay, _nested(key, value, axes[key].key))
        name = "-".join(f"{_short(key)}{slug(_word(value))}" for key, value in chosen)
        yield Point(name, chosen[0][1].span, overlay, {key: value.plain() for key, value in chosen})


def _seeds(doc: Document) -> Iterator[Point]:
    node = doc.keys.get("seeds")
    listed = node.value if node is not None and isinstance(node.value, list) else []
    for each in listed:
        # a single seed is no axis, and needs no place in a name
        name = f"seed{each.value}" if len(listed) > 1 else ""
        yield Point(name, each.span, Node({"seed": each}, each.span, each.span), {"seed": each.value})


def _nested(key: str, value: Node, span: Span) -> Node:
    node = replace(value, key=span)  # its key stands once, before the list
    for part in reversed(parse_path(key)):
        node = Node({str(part): node}, span, span)
    return node


def _short(key: str) -> str:
    """`lr` for `learning_rate`: the first letters of the words of a key's last part; a single word whole."""
    words = key.rsplit(".", 1)[-1].split("_")
    return slug(words[0]) if len(words) == 1 else "".join(word[:1] for word in words)


def _word(node: Node) -> str:
    value = node.plain()
    return f"{value:g}" if isinstance(value, float) else str(value)


def slug(text: str) -> str:
    """As part of a run's path: `1e+18` is `1e18`."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower().replace("+", "")).strip("-.") or "x"
