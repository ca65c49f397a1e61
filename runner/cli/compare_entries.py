"""What `runner compare` was given -> the runs it is about, and where their recipes set what they set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.cli.common import open_recipe
from runner.cli.show import origin
from runner.comparison.compare import Entry
from runner.comparison.runs import run_around
from runner.project import Project, valid_name
from runner.provenance.find import find_run
from runner.recipe.document import Node
from runner.recipe.load import Refused
from runner.record import read_run

CHANGED = "`--set`, or the recipe has changed since"


def entries_of(project: Project, given: Sequence[str], profile: str) -> list[Entry]:
    """Evaluations by their results, where all that are named are some; else each by its run, and results beside it
    where it has them. Raises Refused: R001 for a name that is none, R410 for what has not run, R471 for no run."""
    places = [_place(project, each, profile) for each in given]
    labels = [label_of(each, given) for each in given]
    results = [_results(place) for place in places]
    if all(found is not None for found in results):
        return [Entry(label, results=found) for label, found in zip(labels, results, strict=True)]
    return [Entry(label, run=place, origins=origins(place)) for label, place in zip(labels, places, strict=True)]


def _place(project: Project, given: str, profile: str) -> Path:
    """A folder that is there, or the newest run of a recipe: finished, else one with a record at all."""
    for folder in (Path(given), project.artifacts / given):
        if folder.is_dir() and (_results(folder) or read_run(folder)):
            return folder
    if Path(given).is_dir():
        return Path(given)  # reading it says that it is none
    return find_run(project, given, profile).path


def _results(folder: Path) -> Path | None:
    """The folder of an evaluation's results, of its run or itself."""
    return next((place for place in (folder, folder / "results") if (place / "summary.json").is_file()), None)


def origins(folder: Path) -> dict[str, str]:
    """key -> file and line, or profile, that set it; empty where the recipe is gone or no longer valid."""
    run = run_around(folder)
    if run is None:
        return {}
    recorded, name, profile = run.record.get("values"), run.record.get("recipe"), run.record.get("profile")
    if not (isinstance(recorded, dict) and isinstance(name, str) and valid_name(name) and isinstance(profile, str)):
        return {}
    try:
        project, recipe, _ = open_recipe(name, profile)
    except (Refused, OSError):
        return {}
    keys, now = recipe.doc.keys, recipe.values
    return {key: _origin(project, keys.get(key), now.get(key), then) for key, then in recorded.items()}


def _origin(project: Project, node: Node | None, now: Any, then: Any) -> str:
    if node is None or json.dumps(now, default=str) != json.dumps(then, default=str):
        return CHANGED
    return origin(node.key, project.root)


def label_of(run: str, given: Sequence[str]) -> str:
    """The last part that tells it from the others."""
    short = run.rstrip("/").rpartition("/")[2]
    same = sum(other.rstrip("/").rpartition("/")[2] == short for other in given)
    return run if same > 1 else short
