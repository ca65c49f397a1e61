"""Reports of metrics.jsonl -> those that led to where a run is: not what a dead attempt did after its checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def gone_through(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that led to where a run is. One that goes on from a checkpoint says where it begins; what a dead attempt
    reported of later steps of that stage stays in the file, and is no part of the run."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if row.get("event") == "begin":
            key = next((name for name in row if name == "step" or name.endswith("/step")), "step")
            begins = row.get(key)
            if isinstance(begins, (int, float)):
                kept = [r for r in kept if not (isinstance(r.get(key), (int, float)) and r[key] > begins)]
        kept.append(row)
    return kept
