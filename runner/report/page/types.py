"""What the page shows, ready for its template: text, numbers and SVG, with nothing left to decide."""

from __future__ import annotations

from dataclasses import dataclass

from runner.report.page.lineage import Graph
from runner.report.page.plan import Goal


@dataclass(frozen=True, slots=True)
class Cell:
    """What a table shows, and what it is sorted by: a number where it is one."""

    text: str
    by: str | float | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. `title` is its caption; `numeric` are the columns that stand to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """`svg` is safe to stand in the page as it is (page/svg.py); `told` says in words what it shows."""

    title: str
    svg: str
    told: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """What one run left for people to look at."""

    recipe: str
    title: str
    profile: str
    run: str
    headline: str
    grids: tuple[Grid, ...]
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """`id` is its anchor, `word` what the menu calls it."""

    id: str
    word: str
    title: str
    lead: str
    pieces: tuple[Piece, ...] = ()
    charts: tuple[Chart, ...] = ()
    grids: tuple[Grid, ...] = ()


@dataclass(frozen=True, slots=True)
class Going:
    """A run that goes on. `share` of its steps is done, None before they are known."""

    recipe: str
    profile: str
    run: str
    said: str
    share: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A run in the table of all of them."""

    recipe: str
    profile: str
    run: str
    status: str
    started: str
    when: str
    hours: float
    took: str
    usd: float | None
    cost: str
    compared: str
    worst: float
    result: str


@dataclass(frozen=True, slots=True)
class Contents:
    """`facts` are figures of all runs, as `(what, figure)`; `left_out` counts runs that are older than the table's."""

    project: str
    made: str
    facts: tuple[tuple[str, str], ...]
    deliverables: tuple[Goal, ...]
    phases: tuple[Goal, ...]
    going: tuple[Going, ...]
    lines: tuple[Line, ...]
    left_out: int
    sections: tuple[Section, ...]
    lineage: tuple[Graph, ...]
