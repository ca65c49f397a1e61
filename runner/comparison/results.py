"""A folder of results -> scores by document, in one order; what two such must have in common to be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner.comparison.statistics import Array
from runner.diagnostics import Diagnostic, Span
from runner.recipe.load import Refused

SUMMARY = "summary.json"
# of samples, what is never a score
_OTHER = frozenset({"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"})
_HASH = re.compile(r"_hash$")


@dataclass(frozen=True, slots=True)
class Results:
    """One evaluation, by the name that tables call it; `summary` is what runner/jobs/evaluation wrote."""

    label: str
    folder: Path
    summary: dict[str, Any]

    @property
    def tasks(self) -> dict[str, Any]:
        found: dict[str, Any] = self.summary["tasks"]
        return found

    @property
    def groups(self) -> dict[str, Any]:
        found: dict[str, Any] = self.summary.get("groups", {})
        return found

    def scores(self, task: str) -> dict[str, dict[str, float]]:
        """metric -> hash of a document -> score; a document that was asked several times has the mean."""
        found: dict[str, dict[str, list[float]]] = {}
        for row in _rows(self.folder / self.tasks[task]["samples"]):
            suffix = "" if row.get("filter", "none") == "none" else f",{row['filter']}"
            for key, value in row.items():
                if key in _OTHER or _HASH.search(key) or not isinstance(value, (int, float)):
                    continue
                name = key if key + suffix not in self.tasks[task]["metrics"] else key + suffix
                if name in self.tasks[task]["metrics"]:
                    found.setdefault(name, {}).setdefault(str(row["doc_hash"]), []).append(float(value))
        return {name: {doc: sum(v) / len(v) for doc, v in docs.items()} for name, docs in found.items()}


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open() as stream:
        for line in stream:
            yield json.loads(line)


def read_results(folder: Path, label: str) -> Results:
    """Raises Refused (R950) where there are none that can be read."""
    try:
        summary = json.loads((folder / SUMMARY).read_text())
        if not isinstance(summary, dict) or not isinstance(summary.get("tasks"), dict):
            raise ValueError("it is not a summary of results")
    except (OSError, ValueError) as error:
        raise Refused(
            Diagnostic(
                "R950",
                f"`{label}` has no results that can be read: {error}",
                Span(str(folder / SUMMARY)),
                help="name a run of kind `eval`, or its folder `results`",
            )
        ) from None
    return Results(label, folder, summary)


def common_tasks(runs: Sequence[Results], only: Sequence[str] | None = None) -> list[str]:
    """Tasks of all runs, in the first one's order: those in `only` (tasks and groups), where it is given.

    Raises Refused (R951) where tasks, examples or documents differ, for each difference; R952 where none are asked for.
    """
    wanted = [set(_chosen(run, only)) for run in runs]
    found: list[Diagnostic] = []
    first = runs[0]
    for run, tasks in zip(runs[1:], wanted[1:], strict=True):
        here, there = sorted(wanted[0] - tasks), sorted(tasks - wanted[0])
        for listed, has, lacks in ((here, first, run), (there, run, first)):
            if listed:
                shown = ", ".join(f"`{name}`" for name in listed[:5]) + (" and others" if len(listed) > 5 else "")
                found.append(_differ(lacks, f"`{lacks.label}` was not asked {shown}, which `{has.label}` was"))
        for task in sorted(wanted[0] & tasks):
            found += _task_differs(first, run, task)
    if found:
        raise Refused(*found)
    if not wanted[0]:
        raise Refused(
            Diagnostic(
                "R952",
                "there are no tasks to compare",
                Span(str(first.folder)),
                notes=("the runs have " + ", ".join(f"`{t}`" for t in [*first.groups, *first.tasks][:12]),),
                help="name some of these, or leave `tasks` out",
            )
        )
    return [task for task in first.tasks if task in wanted[0]]


def _chosen(run: Results, only: Sequence[str] | None) -> list[str]:
    if only is None:
        return list(run.tasks)
    return [task for name in only for task in (run.groups[name]["tasks"] if name in run.groups else [name])
            if task in run.tasks]  # fmt: skip


def _task_differs(first: Results, second: Results, task: str) -> Iterator[Diagnostic]:
    one, two = first.tasks[task], second.tasks[task]
    for key, what in (("num_fewshot", "examples"), ("version", "version"), ("n", "documents")):
        if one.get(key) != two.get(key):
            said = f"`{task}` has another number of {what}" if key != "version" else f"`{task}` is of another version"
            yield _differ(second, f"{said}: {one.get(key)} in `{first.label}`, {two.get(key)} in `{second.label}`")
    if one.get("n") == two.get("n") and one.get("documents") != two.get("documents"):
        yield _differ(second, f"`{task}` was asked about other documents in `{first.label}` than in `{second.label}`")


def _differ(run: Results, message: str) -> Diagnostic:
    return Diagnostic(
        "R951",
        message,
        Span(str(run.folder)),
        notes=("a paired difference is between answers to the same question",),
        help="evaluate both with the same tasks, `num_fewshot` and `limit`, or choose `tasks` that they share",
    )


def same_prompts(runs: Sequence[Results], task: str) -> bool:
    """Whether the models read the very same text; another chat template changes it."""
    return len({run.tasks[task].get("prompts") for run in runs}) == 1


def aligned(first: dict[str, float], second: dict[str, float]) -> tuple[Array, Array]:
    """The scores of the documents of both, in one order."""
    documents = sorted(first.keys() & second.keys())
    return np.array([first[d] for d in documents]), np.array([second[d] for d in documents])
