"""Runs as the runner records them, in milliseconds: what an engine would have left is written by hand."""

from __future__ import annotations

import json
from pathlib import Path

from runner.launch.describe import start_record
from runner.launch.supervise import prepare
from runner.project import Project
from runner.provenance.lock import read_lock
from runner.provenance.locked import resolve_pinned
from runner.provenance.outputs import describe_outputs
from runner.provenance.seal import seal
from runner.provenance.snapshot import snapshot
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.resolve import Recipe
from runner.record import METRICS, RECORD, Run, new_run_dir, point_latest, write_files

CURVE = [
    {"step": 1, "max_steps": 3, "loss": 3.5, "grad_norm": 1.0, "step_s": 0.5},
    {"step": 2, "max_steps": 3, "loss": 2.5, "grad_norm": 0.9, "step_s": 0.4},
    {"step": 3, "max_steps": 3, "loss": 1.5, "grad_norm": 0.8, "step_s": 0.6, "eval_loss": 1.75},
]


def resolved(project: Project, name: str) -> Recipe:
    doc = compose(project, project.recipe_file(name))
    return resolve_pinned(Library(project), doc, read_lock(doc.file))


def made_run(
    project: Project, name: str, *, status: str = "finished", weights: str = "weights", id: str | None = None
) -> Run:
    """A run of a recipe of kind `finetune` with an adapter, `latest` where it has finished."""
    recipe = resolved(project, name)
    prepared = prepare(project, recipe, force=True)
    path = new_run_dir(project, name, "full")
    if id is not None:
        path = path.rename(path.with_name(id))
    write_files(path, prepared.files)
    record = start_record(recipe, prepared.fingerprint, path) | snapshot(project, recipe, prepared.files, path)
    record |= {"status": status, "predicted": {"time.steps": 3}, "measured": {"time.steps": 3}, "outputs": []}
    (path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in CURVE))
    if status == "finished":
        for output in recipe.outputs:
            _leave(path / output.path, weights)
        record["outputs"], _ = describe_outputs(recipe, path)
        record["metrics"] = {**CURVE[-1], "first_loss": 3.5, "eval_runtime": 1.25}
    seal(project, recipe, path, record)
    if status == "finished":
        point_latest(path)
    return Run(path, json.loads((path / RECORD).read_text()))


def _leave(folder: Path, weights: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_text(weights)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "README.md").write_text("an engine's own card")
    (folder / "checkpoint-2").mkdir(exist_ok=True)
    (folder / "checkpoint-2" / "optimizer.pt").write_text("moments")
