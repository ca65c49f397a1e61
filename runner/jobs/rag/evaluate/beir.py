"""A folder in BEIR's format -> questions and the documents that answer them; refuses what has none, or names none.

Each file may be packed by gzip, under its name with `.gz`, as the hub has them.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..types import Problem

CORPUS, QUERIES, QRELS = FILES = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
PACKED = ".gz"
# what a first row of qrels is called that is no judgement
HEADS = {"query-id", "query_id", "qid", "query"}


@dataclass(frozen=True, slots=True)
class Questions:
    """`relevant`: question -> document -> grade, above nothing. `groups`: question -> its kind, where one is told;
    `answers`: question -> words that are right, where its metadata have them."""

    folder: Path
    documents: int
    texts: dict[str, str]
    relevant: dict[str, dict[str, int]]
    groups: dict[str, str]
    answers: dict[str, list[str]] = field(default_factory=dict)


def read(folder: Path, limit: int | None = None, seed: int = 0) -> Questions:
    """Questions with at least one relevant document, in their file's order; `limit` of them drawn by the seed.
    Raises Problem."""
    corpus, queries, qrels = (file_of(folder, name) for name in FILES)
    documents = {_id(row, at) for at, row in _rows(corpus)}
    relevant = _qrels(qrels)
    asked: dict[str, Mapping[str, Any]] = {}
    for at, row in _rows(queries):
        name = _id(row, at)
        if name in asked:
            raise Problem(f"{at}: a second question has the id {name!r}")
        if name in relevant and not (isinstance(row.get("text"), str) and row["text"].strip()):
            raise Problem(f"{at}: the question {name!r} has no `text`")
        asked[name] = row
    kept = [name for name in asked if name in relevant]
    if not kept:
        raise Problem(f"{folder}: no question of {queries.name} has a relevant document in {QRELS}")
    _known(folder, documents, {d for name in kept for d in relevant[name]})
    if limit is not None and limit < len(kept):
        drawn = set(random.Random(seed).sample(kept, limit))  # noqa: S311
        kept = [name for name in kept if name in drawn]
    return Questions(
        folder,
        len(documents),
        {name: asked[name]["text"] for name in kept},
        {name: relevant[name] for name in kept},
        {name: rule for name in kept if (rule := _rule(asked[name]))},
        {name: list(map(str, said)) for name in kept if (said := _answers(asked[name]))},
    )


def file_of(folder: Path, name: str) -> Path:
    """Of a BEIR folder, packed or not. Raises Problem."""
    for file in (folder / name, folder / f"{name}{PACKED}"):
        if file.is_file():
            return file
    raise Problem(f"{folder} is no BEIR folder: {name} is missing")


@contextmanager
def opened(file: Path) -> Iterator[TextIO]:
    """In UTF-8, unpacked, lines ending as they end. Raises Problem."""
    try:
        with (gzip.open if file.suffix == PACKED else open)(file, "rt", encoding="utf-8-sig", newline="") as lines:
            yield lines  # type: ignore[misc]
    except UnicodeDecodeError as error:
        raise Problem(f"{file}: not in UTF-8: {error.reason} at byte {error.start}") from error
    except (OSError, EOFError) as error:
        raise Problem(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from error


def _known(folder: Path, documents: set[str], named: set[str]) -> None:
    """A document that is labelled and not there counts as never found, as in every evaluation of such a folder."""
    missing = sorted(named - documents)
    if len(missing) == len(named):
        raise Problem(f"{folder}: {QRELS} names documents that {CORPUS} does not have, {missing[0]!r} for one")
    if missing:
        print(
            f"{folder}: {len(missing)} of {len(named)} relevant documents are not in {CORPUS}, {missing[0]!r} for one; "
            "they count as not found",
            file=sys.stderr,
            flush=True,
        )


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row, and where it stands."""
    with opened(file) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Problem(f"{file}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise Problem(f"{file}:{number}: a row is a mapping")
            yield f"{file}:{number}", row


def _id(row: Mapping[str, Any], at: str) -> str:
    """Numbers are ids too; qrels have them as text."""
    given = row.get("_id")
    if isinstance(given, bool) or not isinstance(given, (str, int)) or given == "":
        raise Problem(f"{at}: a row has no `_id`")
    return str(given)


def _rule(row: Mapping[str, Any]) -> str:
    told = row.get("metadata")
    return str(told.get("rule") or "") if isinstance(told, dict) else ""


def _answers(row: Mapping[str, Any]) -> list[Any]:
    told = row.get("metadata")
    found = told.get("answers") if isinstance(told, dict) else None
    return found if isinstance(found, list) else []


def _qrels(file: Path) -> dict[str, dict[str, int]]:
    """With a first row that names the columns, or without."""
    found: dict[str, dict[str, int]] = {}
    with opened(file) as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        try:
            for row in rows:
                if not row or (rows.line_num == 1 and row[0].strip().casefold() in HEADS):
                    continue
                try:
                    question, document, grade = row[0], row[1], int(row[2])
                except (IndexError, ValueError) as error:
                    raise Problem(f"{file}:{rows.line_num}: not question, document and grade") from error
                if grade > 0:
                    found.setdefault(question, {})[document] = grade
        except csv.Error as error:
            raise Problem(f"{file}:{rows.line_num}: {error}") from error
    return found
