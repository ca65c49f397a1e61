"""The open format of a table: a folder with table.json = {"columns": [names], "rows": [{name: value}]}.

A value is text, a number, true or false, or null; what else stands beside `columns` and `rows` is left alone. Kinds
`quantize`, `bench` and `compare` leave such folders, and `compare` sets those of several runs side by side.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.recipe.load import Refused

TABLE = "table.json"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    columns: list[str]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"columns": self.columns, "rows": self.rows, **({"notes": self.notes} if self.notes else {})}

    def as_csv(self) -> str:
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in self.rows)
        return out.getvalue()

    def as_markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns)]
        lines += [[shown(row.get(column)) for column in self.columns] for row in self.rows]
        text = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
        return text + "".join(f"\n{note}\n" for note in self.notes)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TABLE).write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n")
        (folder / "table.csv").write_text(self.as_csv())
        (folder / "table.md").write_text(self.as_markdown())


def read_table(folder: Path, label: str) -> Table:
    """Raises Refused (R953) where there is no table."""
    file = folder / TABLE
    try:
        given = json.loads(file.read_text())
        columns, rows = given["columns"], given["rows"]
        names = [str(each["name"] if isinstance(each, dict) else each) for each in columns]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("its rows are not mappings")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(
            Diagnostic(
                "R953",
                f"`{label}` has no table that can be read: {type(error).__name__}: {error}",
                Span(str(file)),
                notes=('a table is a folder with table.json = {"columns": [...], "rows": [{...}]}',),
                help="name the output `table` of a run of kind `quantize` or `bench`",
            )
        ) from None
    return Table(names, rows)


def side_by_side(labels: list[str], tables: list[Table]) -> Table:
    """All rows of several tables, each with the label of its run before it."""
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    rows = [{"run": label, **row} for label, table in zip(labels, tables, strict=True) for row in table.rows]
    return Table(["run", *(c for c in columns if c != "run")], rows)


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
