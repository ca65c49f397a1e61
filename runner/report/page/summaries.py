"""summary.json of an evaluation, or of retrieval -> a table: those kinds leave their figures so, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.comparison.tables import Row, Table

SUMMARY = "summary.json"


def summary_table(folder: Path) -> Table | None:
    """None where there is none, or it is of something else."""
    try:
        given = json.loads((folder / SUMMARY).read_text())
        if "variants" in given:
            rows = [_variant(each) for each in given["variants"]]
        else:
            rows = [*_tasks(given["tasks"], ""), *_tasks(given.get("groups") or {}, "all of ")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Table(list(dict.fromkeys(key for row in rows for key in row)), rows)


def _tasks(tasks: dict[str, Any], before: str) -> Iterator[Row]:
    """A row for each metric of each task; a group's after them."""
    for name, task in tasks.items():
        for metric, each in task["metrics"].items():
            row = {"task": before + name, "metric": metric, "score": each["value"], "stderr": each.get("stderr")}
            yield row | {"n": each.get("n"), "examples": task.get("num_fewshot")}


def _variant(each: dict[str, Any]) -> Row:
    """What a way to retrieve finds, and its times at the median and for all but one in twenty."""
    total = (each.get("latency_ms") or {}).get("total") or {}
    times = {f"{name} ms": total.get(name) for name in ("p50", "p95")}
    return {"way": each["name"], **each["metrics"], **times, "USD per 1,000": each.get("cost_per_thousand")}
