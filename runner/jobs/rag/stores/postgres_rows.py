"""Changes -> rows of PostgreSQL, and back; a filter -> its condition."""

# what is put into statements is constants; values are parameters
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from psycopg import Connection, Cursor
from psycopg.types.json import Jsonb

from ..types import Change, Document, Passage, Where

DOCUMENT = "id, uri, title, sha256, mime, body, meta, pages"
PASSAGE = "id, document, ordinal, body, start_at, end_at, start_line, end_line, tokens, page, heading, parent, meta"
Row = tuple[tuple[str, str, Any], ...]  # of (column, type, value)


def filtered_by(where: Where | None, column: str = "meta") -> tuple[str, list[Jsonb]]:
    parts, values = [], []
    for key, wanted in (where or {}).items():
        some = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
        parts.append("(" + " or ".join([f"{column} @> %s"] * len(some) or ["false"]) + ")")
        values += [Jsonb({key: value}) for value in some]
    return (f"where {' and '.join(parts)}" if parts else ""), values


def copy_in(connection: Connection[Any], changes: Sequence[Change]) -> None:
    with connection.cursor() as cursor:
        _copy(cursor, "document", _documents(changes))
        _copy(cursor, "passage", _passages(changes))
        _copy(cursor, "embedding", _vectors(changes))


def _copy(cursor: Cursor[Any], table: str, rows: Iterator[Row]) -> None:
    """All have the same columns."""
    first = next(rows, None)
    if first is None:
        return
    columns = ", ".join(column for column, _, _ in first)
    with cursor.copy(f"copy {table} ({columns}) from stdin (format binary)") as copy:
        copy.set_types([kind for _, kind, _ in first])
        copy.write_row([value for _, _, value in first])
        for row in rows:
            copy.write_row([value for _, _, value in row])


def _documents(changes: Sequence[Change]) -> Iterator[Row]:
    for change in changes:
        d = change.document
        text = {"id": d.id, "sha256": d.sha256, "uri": d.uri, "title": d.title, "mime": d.mime, "body": d.text}
        yield (
            *((column, "text", value) for column, value in text.items()),
            ("meta", "jsonb", Jsonb(d.meta)),
            ("pages", "int4[]", list(d.pages)),
        )


def _passages(changes: Sequence[Change]) -> Iterator[Row]:
    for change in changes:
        for searched, passages in ((False, change.parents), (True, change.passages)):
            for p in passages:
                text = {"id": p.id, "document": p.document, "title": change.document.title}
                text |= {"heading": p.heading, "body": p.text, "parent": p.parent}
                number = {"ordinal": p.ordinal, "start_at": p.start, "end_at": p.end, "tokens": p.tokens}
                number |= {"start_line": p.start_line, "end_line": p.end_line, "page": p.page}
                yield (
                    *((column, "text", value) for column, value in text.items()),
                    *((column, "int4", value) for column, value in number.items()),
                    ("searched", "bool", searched),
                    ("meta", "jsonb", Jsonb(p.meta)),
                )


def _vectors(changes: Sequence[Change]) -> Iterator[Row]:
    for change in changes:
        for passage, vector in zip(change.passages, change.vectors, strict=True):
            yield ("id", "text", passage.id), ("meta", "jsonb", Jsonb(passage.meta)), ("v", "vector", vector)


def document_of(row: Sequence[Any]) -> Document:
    return Document(*row[:7], pages=tuple(row[7]))


def whole(connection: Connection[Any], rows: Sequence[Any], dimension: int) -> list[Change]:
    """Of the documents in `rows`, all else."""
    query = (
        f"select {', '.join('p.' + c for c in PASSAGE.split(', '))}, p.searched, e.v from passage p "
        "left join embedding e on e.id = p.id where p.document = any(%s) order by p.ordinal"
    )
    parts: dict[str, tuple[list[Passage], list[Passage], list[Any]]] = {row[0]: ([], [], []) for row in rows}
    for *row, searched, vector in connection.execute(query, [list(parts)], binary=True):
        passages, parents, vectors = parts[row[1]]
        (passages if searched else parents).append(Passage(*row))
        if searched:
            vectors.append(vector.to_numpy())
    none = np.zeros((0, dimension), np.float32)
    return [
        Change(document_of(row), tuple(passages), np.array(vectors, np.float32) if vectors else none, tuple(parents))
        for row in rows
        for passages, parents, vectors in [parts[row[0]]]
    ]
