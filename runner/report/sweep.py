"""A sweep's children as one table: what each was, and what it came to."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from runner.facts.families import architecture_of
from runner.project import Project
from runner.recipe.sweep.children import step_tokens
from runner.record import Run, runs

POINTS = "points.json"
FIRST = ("child", "params", "tokens", "flops", "loss")
LAST = ("train_loss", "steps", "seconds", "tokens_per_s_per_gpu", "peak_gib", "status", "run")


def rows(project: Project, sweep: str, profile: str, run: Path) -> list[dict[str, Any]]:
    """One for each child of that run of the sweep, in the design's order. `params` counts all parameters, embeddings
    too; `flops` is 6 x params x tokens (Hoffmann et al. 2022); `loss` that of the last evaluation, in nats per token,
    or the last of training where nothing was evaluated. Figures are None for a child that has not finished."""
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
    return found | (_figures(done, point) if done else {})


def _figures(run: Run, point: dict[str, Any]) -> dict[str, Any]:
    record = run.record
    metrics, measured, planned = record.get("metrics", {}), record.get("measured", {}), record.get("planned", {})
    parameters = point["parameters"] or _parameters(planned.get("config") or {})
    steps = measured.get("time.steps") or metrics.get("step")
    tokens = metrics.get("tokens")
    if tokens is None and steps:
        box = planned.get("box", {})
        tokens = steps * step_tokens(record.get("values", {}), max(1, box.get("gpus", 0) * box.get("nodes", 1)))
    return {
        "params": parameters,
        "tokens": tokens,
        "flops": 6 * parameters * tokens if parameters and tokens else None,
        "loss": metrics.get("eval_loss", metrics.get("loss")),
        "train_loss": metrics.get("loss"),
        "steps": steps,
        "seconds": record.get("seconds"),
        "tokens_per_s_per_gpu": measured.get("speed.tokens_per_s_per_gpu"),
        "peak_gib": measured.get("memory.peak_gib") or measured.get("host.ram_gib"),
    }


def _parameters(config: dict[str, Any]) -> int | None:
    try:
        return architecture_of(config).parameters if config else None
    except (ValueError, KeyError, TypeError):
        return None


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
