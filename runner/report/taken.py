"""How far each recipe has been taken: rendered, accepted by its engine's validator, smoked, measured on its box.

`data/taken.json` keeps it between machines; `python -m runner.report.taken` adds what the runs in artifacts/ show.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.project import Project, find_project, shipped
from runner.record import latest, read_run, write_json

FILE = "taken.json"


def read(data: Path | None = None) -> dict[str, dict[str, Any]]:
    """recipe -> {"smoke": {...}, "full": {...}}, each with date, box, engine version, seconds and metrics."""
    file = (data or shipped("data")) / FILE
    try:
        found: dict[str, dict[str, Any]] = json.loads(file.read_text())
    except OSError:
        return {}
    return found


def collect(project: Project) -> dict[str, dict[str, Any]]:
    """The newest finished run of each recipe and profile."""
    found: dict[str, dict[str, Any]] = {}
    for file in project.all_recipes():
        name = project.recipe_name(file)
        for profile in ("smoke", "full"):
            path = latest(project, name, profile)
            run = read_run(path) if path else None
            if run is not None:
                found.setdefault(name, {})[profile] = summary(run.record)
    return found


def summary(record: dict[str, Any]) -> dict[str, Any]:
    metrics = record.get("metrics", {})
    engine = record["engine"]
    wanted = (
        "first_loss",
        "loss",
        "first_rewards/margins",
        "rewards/margins",
        "first_reward",
        "reward",
        "tokens",
        "children",
    )
    return {
        "date": str(record["started"])[:10],
        "box": record["box"],
        "engine": f"{engine['name']} {engine.get('versions', {}).get(engine['name'], '?')}",
        "seconds": round(float(record["seconds"])),
        **{k: round(float(metrics[k]), 3) for k in wanted if k in metrics},
    }


def main() -> None:
    project = find_project()
    file = project.root / "data" / FILE
    known = read(file.parent)
    for name, profiles in collect(project).items():
        known.setdefault(name, {}).update(profiles)
    there = {project.recipe_name(f) for f in project.all_recipes()}
    write_json(file, {name: known[name] for name in sorted(known) if name in there})
    print(f"{file}: {len(known)} recipes")


if __name__ == "__main__":
    main()
