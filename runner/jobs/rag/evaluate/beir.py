"""A folder in BEIR's format -> questions and the documents that answer them; refuses what has none, or names none."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..types import Problem


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
    """Questions with at least one relevant document, in their file's order; `limit` of them drawn by the seed."""
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        if not (folder / name).is_file():
            raise Problem(f"{folder} is no BEIR folder: {name} is missing")
    documents = {_id(row, folder / "corpus.jsonl") for row in _rows(folder / "corpus.jsonl")}
    relevant = _qrels(folder / "qrels/test.tsv")
    asked = {_id(row, folder / "queries.jsonl"): row for row in _rows(folder / "queries.jsonl")}
    kept = [name for name in asked if relevant.get(name)]
    if not kept:
        raise Problem(f"{folder}: no question of queries.jsonl has a relevant document in qrels/test.tsv")
    missing = next((d for name in kept for d in relevant[name] if d not in documents), None)
    if missing is not None and not any(d in documents for name in kept for d in relevant[name]):
        raise Problem(f"{folder}: qrels/test.tsv names documents that corpus.jsonl does not have, {missing!r} for one")
    if limit is not None and limit < len(kept):
        drawn = set(random.Random(seed).sample(kept, limit))  # noqa: S311
        kept = [name for name in kept if name in drawn]
    return Questions(
        folder,
        len(documents),
        {name: str(asked[name].get("text", "")) for name in kept},
        {name: relevant[name] for name in kept},
        {name: rule for name in kept if (rule := (asked[name].get("metadata") or {}).get("rule"))},
        {name: list(map(str, said)) for name in kept if (said := (asked[name].get("metadata") or {}).get("answers"))},
    )


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise Problem(f"{file}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise Problem(f"{file}:{number}: a row is a mapping")
            yield row


def _id(row: dict[str, Any], file: Path) -> str:
    if "_id" not in row:
        raise Problem(f"{file}: a row has no `_id`")
    return str(row["_id"])


def _qrels(file: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if number == 1 and row[:1] == ["query-id"]:
                continue
            try:
                question, document, grade = row[0], row[1], int(row[2])
            except (IndexError, ValueError) as error:
                raise Problem(f"{file}:{number}: not question, document and grade") from error
            if grade > 0:
                found.setdefault(question, {})[document] = grade
    return found
