"""What is added to a run's record when the run is over: the commits that it read, and a card beside each model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.project import Project
from runner.provenance.card import card_text
from runner.provenance.outputs import CARD, MODEL_TYPES
from runner.provenance.snapshot import hub_of
from runner.recipe.resolve import Recipe
from runner.record import RECORD, Run, file_hash, write_json


def seal(project: Project, recipe: Recipe, run: Path, record: dict[str, Any]) -> None:
    """Write the record, and then once more with what is added: whatever goes wrong with a card, the run has ended as it
    has. Cards take the place of those that engines write."""
    write_json(run / RECORD, record)
    record = record | {"hub": hub_of(project, recipe)}
    write_json(run / RECORD, record | {"cards": write_cards(Run(run, record))})


def write_cards(run: Run) -> dict[str, str]:
    """Write README.md into every model that a finished run left: path below the run -> hash."""
    if run.status != "finished":
        return {}
    written = {}
    for output in run.record.get("outputs", []):
        if output["type"] in MODEL_TYPES:
            place = run.path / output["path"] / CARD
            place.write_text(card_text(run, output), encoding="utf-8")
            written[str(place.relative_to(run.path))] = file_hash(place)
    return written
