"""A run's tables and figures, as any kind leaves them: table.json folders, and SVG beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.comparison.tables import TABLE, Row, Table, read_table, shown
from runner.project import Project
from runner.recipe.load import Refused
from runner.report.history import Summary
from runner.report.page.summaries import summary_table
from runner.report.page.svg import read_svg
from runner.report.page.types import Cell, Chart, Grid, Piece

# where kinds leave what is for people
_FOLDERS = ("output", "results")
_DEEP = 2  # folders below those
MOST_ROWS, MOST_COLUMNS, MOST_CHARTS = 60, 24, 8


def piece_of(project: Project, summary: Summary) -> Piece | None:
    """None where it left neither a table nor a figure."""
    run = project.artifacts / summary.place
    folders = [folder for name in _FOLDERS for folder in _below(run / name, _DEEP)]
    found = [_grid(run, folder) for folder in folders]
    for folder in folders:
        table = summary_table(folder)
        found += [grid("scores", table)] if table is not None else []
    grids = tuple(each for each in found if each is not None)
    if {"figures"} == {each.title for each in grids} & {"figures", "pairs"}:  # of runs compared, the same on its side
        grids = tuple(each for each in grids if each.title != "table")
    charts = tuple(_charts(run, folders, summary))
    if not grids and not charts:
        return None
    return Piece(
        summary.recipe, summary.title, summary.profile, summary.run, summary.headline, grids, charts[:MOST_CHARTS]
    )


def _below(folder: Path, deep: int) -> Iterator[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return
    yield folder
    if deep:
        for each in sorted(folder.iterdir()):
            if each.is_dir():
                yield from _below(each, deep - 1)


def _grid(run: Path, folder: Path) -> Grid | None:
    if not (folder / TABLE).is_file():
        return None
    try:
        table = read_table(folder, folder.name)
    except Refused:
        return None
    inside = folder.relative_to(run).parts[1:]
    notes = _notes(folder / TABLE)
    return grid(" / ".join(inside) or "table", Table(table.columns, table.rows, notes))


def _notes(file: Path) -> list[str]:
    found = json.loads(file.read_text()).get("notes")
    return [str(note) for note in found] if isinstance(found, list) else []


def grid(title: str, table: Table) -> Grid | None:
    """None of a table that has no rows; columns in which nothing stands are left out."""
    columns = [c for c in table.columns if any(row.get(c) is not None for row in table.rows)][:MOST_COLUMNS]
    rows = table.rows[:MOST_ROWS]
    if not rows or not columns:
        return None
    left = len(table.rows) - len(rows)
    notes = [*table.notes, *([f"{left} more rows are in the run's folder"] if left else [])]
    numeric = frozenset(i for i, column in enumerate(columns) if _numeric(rows, column))
    cells = tuple(tuple(_cell(row.get(column)) for column in columns) for row in rows)
    return Grid(title, tuple(columns), cells, numeric, tuple(notes))


def _numeric(rows: list[Row], column: str) -> bool:
    values = [row[column] for row in rows if row.get(column) is not None]
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _cell(value: Any) -> Cell:
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False)
    text = shown(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        text = f"{value:,}"
    return Cell(text if len(text) <= 160 else text[:159] + "…", value if isinstance(value, (int, float)) else text)


def _charts(run: Path, folders: list[Path], summary: Summary) -> Iterator[Chart]:
    for folder in folders:
        for file in sorted(folder.glob("*.svg")):
            name = " / ".join([*folder.relative_to(run).parts[1:], file.stem.replace("-", " ").replace("_", " ")])
            prefix = "f" + "".join(c if c.isalnum() else "-" for c in f"{summary.place}-{name}") + "-"
            svg = read_svg(file, prefix)
            if svg is not None:
                yield Chart(name, svg, f"{name} of {summary.recipe}; its figures are in the table above", _wide(svg))


def _wide(svg: str) -> bool:
    """By its own measures: more than those of a loss curve, in points, can't be read in a third of a screen."""
    box = svg.partition('viewBox="')[2].partition('"')[0].split()
    try:
        return float(box[2]) > 4.7 * 72
    except (IndexError, ValueError):
        return False
