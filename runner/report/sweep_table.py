"""A sweep's finished children -> one table of what each is, what it cost and what it came to, and their curves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from runner.comparison.tables import Table
from runner.metrics import gone_through
from runner.plan.reading import read_workload
from runner.plan.work import work
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.resolve import resolve
from runner.record import latest, read_metrics, runs

# what each router was measured by while it trained (runner/jobs/experts.py)
EXPERTS = "experts.jsonl"
LOAD = {"most": "busiest expert", "cv": "load cv", "balance": "balance loss"}
NOTES = (
    "Of an even load the busiest expert has 1 (times an even share), the load's cv (deviation over mean) is 0 and the "
    "balance loss 1; means over the layers and the second half of the steps. No token is dropped.",
    "FLOPs are those of training on one token, as `runner plan` counts them; the loss is that of the held-out text.",
)


@dataclass(frozen=True, slots=True)
class Traced:
    """One finished child: its row of the table, its curve of `(tokens, loss)` on held-out text, and what its routers
    reported as `(step, layer) -> {"shares": [...], "cv": ...}`, empty of a dense model."""

    name: str
    row: dict[str, Any]
    losses: list[tuple[float, float]]
    loads: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)


def traced(project: Project, sweep: str, profile: str, run: Path) -> list[Traced]:
    """In the design's order; a child that has not finished is left out."""
    library = Library(project, profile)
    found = []
    for name, point in json.loads((run / "points.json").read_text()).items():
        done = next((r for r in runs(project, f"{sweep}/{name}", profile) if r.status == "finished"), None)
        if done is None:
            continue
        sizes = _sizes(project, library, run / "children" / f"{name}.yaml")
        found.append(_traced(name, done.path, done.record, {"params": point["parameters"], **sizes}))
    return found


def _sizes(project: Project, library: Library, file: Path) -> dict[str, Any]:
    """Parameters that a token passes through, and operations for it, of a child's own file."""
    doc = compose(project, file, profile=library.profile)
    recipe = resolve(project, doc, library.profile, lambda r, p: latest(project, r, p), library=library)
    workload = read_workload(recipe)
    return {
        "params": workload.architecture.parameters,
        "active": workload.architecture.active_parameters,
        "flops_per_token": work(workload).model / workload.tokens,
    }


def _traced(name: str, run: Path, record: dict[str, Any], sizes: dict[str, Any]) -> Traced:
    metrics, measured = record.get("metrics", {}), record.get("measured", {})
    tokens = (record.get("scaling") or {}).get("tokens")
    loads = read_loads(run)
    row = {
        "child": name,
        **sizes,
        "tokens": tokens,
        "loss": metrics.get("eval_loss", metrics.get("loss")),
        "tokens/s": measured.get("speed.tokens_per_s_per_gpu"),
        "peak GiB": measured.get("memory.peak_gib") or measured.get("host.ram_gib"),
        **settled(loads),
    }
    rows = gone_through(read_metrics(run)[0])
    each = tokens / measured["time.steps"] if tokens and measured.get("time.steps") else 1
    points = {r["step"] * each: r["eval_loss"] for r in rows if isinstance(r.get("eval_loss"), float) and r.get("step")}
    return Traced(name, row, sorted(points.items()), loads)


def settled(loads: dict[tuple[int, int], dict[str, Any]]) -> dict[str, float]:
    """How even the load was when the routers had learned something."""
    half = max((step for step, _ in loads), default=0) / 2
    late = [line for (step, _), line in loads.items() if step > half]
    return {ours: fmean(line[theirs] for line in late) for theirs, ours in LOAD.items()} if late else {}


def read_loads(run: Path) -> dict[tuple[int, int], dict[str, Any]]:
    """A step that was gone through twice counts as it was the last time; a line half written is left."""
    file = run / EXPERTS
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            each = json.loads(line)
        except ValueError:
            continue
        found[each["step"], each["layer"]] = each
    return found


def table_of(children: list[Traced]) -> Table:
    columns = list(dict.fromkeys(key for child in children for key in child.row))
    notes = NOTES if LOAD["most"] in columns else NOTES[1:]
    return Table(columns, [child.row for child in children], list(notes))
