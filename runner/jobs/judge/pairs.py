"""Samples that lm-eval logged -> questions with two answers each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import Problem


@dataclass(frozen=True)
class Pair:
    """`document` is lm-eval's hash of the question's row; `theirs` is another model's answer, or the task's own."""

    task: str
    document: str
    question: str
    ours: str
    theirs: str


def read_pairs(results: Path, against: Path | None, tasks: list[str], limit: int | None) -> list[Pair]:
    """In the order in which they were asked. Raises Problem where one side lacks an answer."""
    found = []
    for task in tasks:
        ours = _answers(results, task)
        theirs = _answers(against, task) if against is not None else None
        if theirs is not None and (missing := [d for d in ours if d not in theirs]):
            raise Problem(f"{against} lacks answers to {len(missing)} of {len(ours)} questions of {task}")
        for document, row in list(ours.items())[:limit]:
            other = _answer(theirs[document]) if theirs is not None else str(row["target"])
            found.append(Pair(task, document, _question(row), _answer(row), other))
    if not found:
        raise Problem(f"there are no answers to {', '.join(tasks)}")
    return found


def _answers(folder: Path, task: str) -> dict[str, dict[str, Any]]:
    return {row["doc_hash"]: row for row in _rows(folder, task)}


def _rows(folder: Path, task: str) -> Iterator[dict[str, Any]]:
    files = [f for f in folder.glob(f"samples_{task}_*.jsonl") if f.stem.removeprefix(f"samples_{task}_")[:1].isdigit()]
    if not files:
        raise Problem(f"{folder} has no answers to {task}")
    for line in max(files).read_text().splitlines():
        yield json.loads(line)


def _answer(row: dict[str, Any]) -> str:
    given = row["resps"]
    while isinstance(given, list) and given:
        given = given[0]
    if not isinstance(given, str):
        raise Problem("a task is judged by its text, and this one has none: name one whose answers are generated")
    return given.strip()


def _question(row: dict[str, Any]) -> str:
    """What was asked, as the task wrote it: of a chat its last turn."""
    text = row["arguments"]["gen_args_0"]["arg_0"]
    if isinstance(text, list):  # messages in JSON, for chat completions
        text = text[0]
    try:
        turns = json.loads(text)
    except ValueError:
        turns = None
    if isinstance(turns, list) and turns and isinstance(turns[-1], dict):
        return str(turns[-1].get("content", "")).strip()
    document = row["doc"]
    plain = next((document[key] for key in ("prompt", "question", "instruction", "text") if key in document), None)
    return str(plain if plain is not None else text).strip()
