"""The runs behind a run, as its record and theirs tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.record import Run, read_run


@dataclass(frozen=True, slots=True)
class Source:
    """A run that another took outputs of. `run` is None where its directory or its record is gone."""

    alias: str
    recipe: str
    id: str
    path: Path | None
    run: Run | None
    recorded: dict[str, Any]


def sources(run: Run) -> list[Source]:
    """The runs that this one stands on, at once."""
    found = []
    for each in run.record.get("upstream", []):
        path = _place(run, each)
        found.append(
            Source(
                str(each.get("alias")),
                str(each.get("recipe")),
                str(each.get("run")),
                path,
                read_run(path) if path is not None else None,
                each,
            )
        )
    return found


def _place(run: Run, each: dict[str, Any]) -> Path | None:
    """By its path seen from the run; a record of before that was kept has names only, below the same artifacts/."""
    if each.get("path"):
        # without following links on the way: `latest` is one, and moves
        return Path(os.path.normpath(run.path / each["path"]))
    if not each.get("run") or "recipe" not in run.record:
        return None
    above = len(str(run.record["recipe"]).split("/")) + 1
    if above >= len(run.path.parents):
        return None
    return run.path.parents[above] / str(each["recipe"]) / str(run.record.get("profile")) / str(each["run"])


def ancestors(run: Run) -> Iterator[tuple[int, Source]]:
    """Every run behind it, nearest first within each branch, with how far up; each place once."""
    seen: set[Path] = set()
    waiting = [(1, source) for source in sources(run)]
    while waiting:
        depth, source = waiting.pop(0)
        if source.path is not None and source.path in seen:
            continue
        seen |= {source.path} if source.path is not None else set()
        yield depth, source
        if source.run is not None:
            waiting = [(depth + 1, s) for s in sources(source.run)] + waiting
