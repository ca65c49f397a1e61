"""A sweep's children as one table: what each was, and what it came to."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from runner.project import Project
from runner.record import Run, runs

POINTS = "points.json"
FIRST = ("child", "params", "tokens", "flops", "loss")
LAST = ("train_loss", "steps", "seconds", "tokens_per_s_per_gpu", "peak_gib", "status", "run")


def rows(project: Project, sweep: str, profile: str, run: Path) -> list[dict[str, Any]]:
    """One for each child of that run of the sweep, in the design's order: its axes, and what its record says under
    `scaling` and `measured`. A child that has not finished has no figures."""
    points: dict[str, Any] = json.loads((run / POINTS).read_text())
    return [_row(project, sweep, profile, name, point) for name, point in points.items()]


def _row(project: Project, sweep: str, profile: str, name: str, point: dict[str, Any]) -> dict[str, Any]:
    tried = runs(project, f"{sweep}/{name}", profile)
    done = next((r for r in tried if r.status == "finished"), None)
    axes = {f"axis.{key}": value for key, value in point["axes"].items() if not isinstance(value, (dict, list))}
    newest = done or (tried[0] if tried else None)
    found: dict[str, Any] = {
        "child": name,
        **axes,
        "status": newest.status if newest else "not started",
        "run": newest.id if newest else None,
    }
    return found | (_figures(done) if done else {})


def _figures(run: Run) -> dict[str, Any]:
    metrics, measured = run.record.get("metrics", {}), run.record.get("measured", {})
    return {
        "loss": metrics.get("eval_loss", metrics.get("loss")),
        **(run.record.get("scaling") or {}),
        "train_loss": metrics.get("loss"),
        "steps": measured.get("time.steps"),
        "seconds": run.record.get("seconds"),
        "tokens_per_s_per_gpu": measured.get("speed.tokens_per_s_per_gpu"),
        "peak_gib": measured.get("memory.peak_gib") or measured.get("host.ram_gib"),
    }


def columns(table: list[dict[str, Any]]) -> list[str]:
    axes = dict.fromkeys(key for row in table for key in row if key.startswith("axis."))
    return [*FIRST, *axes, *LAST]


def as_csv(table: list[dict[str, Any]]) -> str:
    """Finished children only: a fit must not meet half a run."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns(table), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in table:
        if row["status"] == "finished":
            writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return out.getvalue()


def progress(table: list[dict[str, Any]]) -> dict[str, Any]:
    """How far a sweep is, as a row of its metrics.jsonl."""
    losses = [float(row["loss"]) for row in table if row.get("loss") is not None]
    done = sum(row["status"] == "finished" for row in table)
    found = {"step": done, "max_steps": len(table), "children": done}
    return found | ({"best_loss": min(losses)} if losses else {})
