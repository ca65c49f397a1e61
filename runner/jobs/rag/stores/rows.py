"""Documents and passages <-> plain dicts, for stores that keep a row of each; what all stores refuse."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..types import Document, IndexSpec, Passage, Problem


def document_row(document: Document) -> dict[str, Any]:
    return {**asdict(document), "pages": list(document.pages)}


def document_of(row: Mapping[str, Any]) -> Document:
    names = Document.__dataclass_fields__
    return Document(**{**{name: row[name] for name in names}, "pages": tuple(row["pages"])})


def passage_of(row: Mapping[str, Any]) -> Passage:
    return Passage(**{name: row[name] for name in Passage.__dataclass_fields__})


def scalars(wanted: Any) -> list[Any]:
    """The values that pass: one, or those of a list."""
    return list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]


def refuse_different(kept: Mapping[str, Any], spec: IndexSpec) -> None:
    """Raises Problem: vectors of two models in one index find nothing, and say nothing about it."""
    asked = json.loads(json.dumps(asdict(spec)))
    for key in asked:
        if kept.get(key) != asked[key]:
            raise Problem(
                f"index {spec.name!r} was made with {key} {kept.get(key)!r}, and the recipe says {asked[key]!r}: "
                "ingest into another index (a new run, or another name), or set the recipe back"
            )


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """One ingest at a time of those that share the folder. Raises Problem."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "ingest.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Problem(f"another ingest into {name!r} is running; try again when it has ended") from error
        yield
