"""Document: the values of a recipe together with the place of every key and value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.diagnostics import Span

Scalar = str | int | float | bool | None
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. `value` is a scalar, a dict of Nodes or a list of Nodes.

    `key` is the place of the key that leads here (the value's own place for list items and the root):
    carets point at keys, since that is what people look for.
    """

    value: Scalar | dict[str, Node] | list[Node]
    span: Span
    key: Span

    def plain(self) -> Any:
        """The value without places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {k: v.plain() for k, v in self.value.items()}
        if isinstance(self.value, list):
            return [v.plain() for v in self.value]
        return self.value

    def child(self, part: str | int) -> Node | None:
        if isinstance(self.value, dict) and isinstance(part, str):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and 0 <= part < len(self.value):
            return self.value[part]
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """A recipe as read: `name` (`phase4/dpo-13b`), its file, and the root mapping.

    `wishes` holds what `--set` and the recipe's own `profiles:` section asked for: a profile never overrides that.
    """

    name: str
    file: str
    root: Node
    wishes: Node | None = None

    @property
    def keys(self) -> dict[str, Node]:
        assert isinstance(self.root.value, dict)
        return self.root.value

    def find(self, path: Path | str) -> Node | None:
        """The node at `path`, a tuple or a dotted string (`trl.beta`, `datasets.0.type`); None where nothing is."""
        parts = parse_path(path) if isinstance(path, str) else path
        node: Node | None = self.root
        for part in parts:
            if node is None:
                return None
            node = node.child(part)
        return node

    def nearest(self, path: Path) -> Node:
        """The node at `path`, or its closest ancestor that exists."""
        node = self.root
        for part in path:
            below = node.child(part)
            if below is None:
                return node
            node = below
        return node

    def plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = self.root.plain()
        return plain


def parse_path(dotted: str) -> Path:
    return tuple(int(p) if p.isdecimal() and len(p) < 10 else p for p in dotted.split("."))


def dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(p) for p in path)


def make_node(value: Any, span: Span) -> Node:
    """Plain data as Nodes that all stand at `span`."""
    if isinstance(value, Mapping):
        return Node({str(k): make_node(v, span) for k, v in value.items()}, span, span)
    if isinstance(value, (list, tuple)):
        return Node([make_node(v, span) for v in value], span, span)
    return Node(value, span, span)


def merge(under: Node, over: Node) -> Node:
    """`over` on top of `under`: mappings merge key by key, everything else is replaced.

    A list is replaced whole, as in Axolotl and Hydra: half of somebody's dataset mix is never what was meant.
    """
    if isinstance(under.value, dict) and isinstance(over.value, dict):
        merged = dict(under.value)
        for key, node in over.value.items():
            merged[key] = merge(merged[key], node) if key in merged else node
        return Node(merged, over.span, over.key)
    return over


def walk(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every node with its path, parents first."""
    yield path, node
    if isinstance(node.value, dict):
        for key, below in node.value.items():
            yield from walk(below, (*path, key))
    elif isinstance(node.value, list):
        for i, below in enumerate(node.value):
            yield from walk(below, (*path, i))
