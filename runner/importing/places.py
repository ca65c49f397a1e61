"""Text of YAML -> where its keys and values stand, and the text with some of them changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from runner.recipe.document import Path

# start, end, what comes there instead
Change = tuple[int, int, str]


def nodes_of(text: str) -> Any:
    """ruamel's node tree of text that `parse` accepts."""
    reader = YAML(typ="rt", pure=True)
    reader.composer.warn_double_anchors = False
    return reader.compose(text)


def is_block(root: Any) -> bool:
    return isinstance(root, MappingNode) and not root.flow_style


def extents(text: str, root: Any) -> list[tuple[Any, Any, int, int]]:
    """Each key of a block mapping, its value, and where their lines begin and end; comments behind belong to what
    follows."""
    starts = [text.rfind("\n", 0, key.start_mark.index) + 1 for key, _ in root.value]
    found = []
    for (key, node), start, stop in zip(root.value, starts, [*starts[1:], len(text)], strict=True):
        lines = text[start:stop].split("\n")
        while len(lines) > 1 and _stands_alone(lines[-1], key.start_mark.column):
            lines.pop()
        found.append((key, node, start, start + len("\n".join(lines))))
    return found


def _stands_alone(line: str, column: int) -> bool:
    bare = line.strip()
    return not bare or (bare.startswith("#") and len(line) - len(line.lstrip()) <= column)


def prefixed(text: str, start: int, end: int, prefix: str) -> Change:
    lines = text[start:end].split("\n")
    return start, end, "\n".join(f"{prefix}{line}".rstrip() for line in lines)


def changed(text: str, changes: Iterable[Change]) -> str:
    """Changes that lie in another are left out."""
    at, parts = 0, []
    for start, end, instead in sorted(changes, key=lambda c: (c[0], -c[1])):
        if start >= at:
            parts += [text[at:start], instead]
            at = end
    return "".join([*parts, text[at:]])


def scalars(node: Any, path: Path = (), seen: set[int] | None = None) -> Iterator[tuple[Path, Any]]:
    """Every scalar value with its path, each once: what an alias repeats stands where its anchor does."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        yield path, node
    elif isinstance(node, SequenceNode):
        for i, below in enumerate(node.value):
            yield from scalars(below, (*path, i), seen)
    elif isinstance(node, MappingNode):
        for key, below in node.value:
            yield from scalars(below, (*path, str(key.value)), seen)


def mappings(node: Any, seen: set[int] | None = None) -> Iterator[Any]:
    seen = set() if seen is None else seen
    if id(node) in seen or isinstance(node, ScalarNode):
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        yield node
        for _, below in node.value:
            yield from mappings(below, seen)
    else:
        for below in node.value:
            yield from mappings(below, seen)
