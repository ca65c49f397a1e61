"""What ran, and what each stands on, as columns from data to endpoint: places of boxes, and lines between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BOX, GAP_X, GAP_Y = (190, 40), 56, 12  # of a box its width and height; between them; all in pixels


@dataclass(frozen=True, slots=True)
class Node:
    """`x` and `y` of its upper left corner."""

    name: str
    kind: str
    level: str
    x: int
    y: int

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]

    @property
    def short(self) -> str:
        name = self.name.rpartition("/")[2]
        return name if len(name) <= 26 else name[:25] + "…"


@dataclass(frozen=True, slots=True)
class Graph:
    """One connected part. `edges` are paths of SVG, from what is needed to what needs it; `chains` are the same in
    words."""

    nodes: tuple[Node, ...]
    edges: tuple[str, ...]
    chains: tuple[tuple[str, tuple[str, ...]], ...]
    width: int
    height: int


def graphs(needs: Mapping[str, Sequence[str]], kinds: Mapping[str, str], levels: Mapping[str, str]) -> list[Graph]:
    """Connected parts of more than one recipe, the largest first. `needs`: recipe -> those that it stands on."""
    parts = _parts(needs)
    return [_placed(part, needs, kinds, levels) for part in parts if len(part) > 1]


def _parts(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    beside: dict[str, set[str]] = {}
    for name, below in needs.items():
        beside.setdefault(name, set())
        for other in below:
            beside[name].add(other)
            beside.setdefault(other, set()).add(name)
    found, seen = [], set[str]()
    for start in sorted(beside):
        if start in seen:
            continue
        part, waiting = [], [start]
        seen.add(start)
        while waiting:
            name = waiting.pop()
            part.append(name)
            fresh = sorted(beside[name] - seen)
            seen.update(fresh)
            waiting += fresh
        found.append(sorted(part))
    return sorted(found, key=lambda part: (-len(part), part))


def _placed(
    part: Sequence[str], needs: Mapping[str, Sequence[str]], kinds: Mapping[str, str], levels: Mapping[str, str]
) -> Graph:
    depth = _depths(part, needs)
    columns = [[name for name in part if depth[name] == at] for at in range(max(depth.values()) + 1)]
    row: dict[str, float] = {}
    for at, column in enumerate(columns):  # beside the middle of what each needs, so that few lines cross
        if at:
            column.sort(key=lambda name: (_middle([row[n] for n in needs.get(name, ()) if n in row]), name))
        row |= {name: float(i) for i, name in enumerate(column)}
    x = {name: depth[name] * (BOX[0] + GAP_X) for name in part}
    y = {name: int(row[name] * (BOX[1] + GAP_Y)) for name in part}
    nodes = tuple(Node(n, kinds.get(n, ""), levels.get(n, "new"), x[n], y[n]) for n in part)
    edges = tuple(_line(x[b], y[b], x[n], y[n]) for n in part for b in needs.get(n, ()) if b in x)
    chains = tuple((n, tuple(needs[n])) for n in part if needs.get(n))
    return Graph(nodes, edges, chains, max(x.values()) + BOX[0], max(y.values()) + BOX[1])


def _depths(part: Sequence[str], needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The longest way to each from what needs nothing. Records of runs can't go in a circle, but files can lie."""
    depth: dict[str, int] = {}

    def of(name: str, above: tuple[str, ...]) -> int:
        if name not in depth:
            below = [of(other, (*above, name)) for other in needs.get(name, ()) if other not in (*above, name)]
            depth[name] = 1 + max(below, default=-1)
        return depth[name]

    return {name: of(name, ()) for name in part}


def _middle(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _line(x1: int, y1: int, x2: int, y2: int) -> str:
    start, end = (x1 + BOX[0], y1 + BOX[1] // 2), (x2, y2 + BOX[1] // 2)
    bend = max(28, (end[0] - start[0]) // 2) if end[0] > start[0] else 28
    return f"M{start[0]},{start[1]} C{start[0] + bend},{start[1]} {end[0] - bend},{end[1]} {end[0]},{end[1]}"
