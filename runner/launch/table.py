"""What was run, as `runner calibrate` reads it: in a run's record, and in rows of data/measured/<box>.csv."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from runner.plan.reading import Unplannable, planned_config
from runner.project import Project
from runner.recipe.resolve import Recipe

# `box`, `config` and `settings` as JSON; GPU memory is the largest rank's, host RAM that of all ranks, in GiB
FIELDS = (
    "id", "date", "source", "recipe", "kind", "profile", "ranks", "steps", "outcome", "peak_gib", "reserved_gib",
    "host_gib", "tokens_per_s_per_gpu", "step_s", "cores", "versions", "box", "config", "settings", "notes",
)  # fmt: skip
# what a measurement does not depend on: names, places and what is told to whom
_APART = (
    "base_model",
    "tokenizer_config",
    "datasets",
    "test_datasets",
    "pretraining_dataset",
    "lora_model_dir",
    "seed",
)
_PREFIXES = ("hub_", "wandb_", "mlflow_", "comet_", "save_", "eval_", "logging_")
_NAMED = ("torch", "axolotl", "transformers", "deepspeed", "peft", "trl", "bitsandbytes")


def table_file(project: Project, box: str) -> Path:
    return project.root / "data" / "measured" / f"{box}.csv"


def planned(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """`config` of the model (empty where it is not known), `settings` that matter, `box` as a box file has it."""
    try:
        config = planned_config(recipe)
    except Unplannable:
        config = {}
    return {"config": config, "settings": _settings(recipe), "box": _box(recipe)}


def row(recipe: Recipe, record: dict[str, Any]) -> dict[str, Any]:
    """A run's record as a row."""
    found: dict[str, Any] = record.get("measured", {})
    versions = record.get("engine", {}).get("versions", {})
    outcome = "ran" if record["status"] == "finished" else "OOM" if _out_of_memory(record) else "failed"
    return {
        "id": f"{recipe.name}/{recipe.profile}/{record['run']}",
        "date": str(record.get("started", ""))[:10],
        "source": f"own-{recipe.box.name}",
        "recipe": recipe.name,
        "kind": recipe.kind,
        "profile": recipe.profile,
        "ranks": len(found.get("host.ranks_gib") or ()) or None,
        "steps": found.get("time.steps"),
        "outcome": outcome,
        "peak_gib": found.get("memory.peak_gib"),
        "reserved_gib": found.get("memory.reserved_gib"),
        "host_gib": found.get("host.ram_gib"),
        "tokens_per_s_per_gpu": found.get("speed.tokens_per_s_per_gpu"),
        "step_s": found.get("speed.step_s"),
        "cores": os.cpu_count(),
        "versions": " ".join(f"{name}=={versions[name]}" for name in _NAMED if name in versions),
        "notes": "",
        **{name: json.dumps(value) for name, value in planned(recipe).items()},
    }


def append(file: Path, added: dict[str, Any]) -> None:
    """At the end of the table, which is made where there is none. One from before this version keeps its columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fields: list[str] = list(FIELDS)
    if file.exists():
        with file.open(newline="") as stream:
            fields = next(csv.reader(stream), fields)
    with file.open("a", newline="") as out:
        table = csv.DictWriter(out, fields, extrasaction="ignore", lineterminator="\n")
        if out.tell() == 0:
            table.writeheader()
        table.writerow({name: "" if value is None else value for name, value in added.items()})


def _out_of_memory(record: dict[str, Any]) -> bool:
    error = str(record.get("error") or "")
    return "OutOfMemory" in error or "out of memory" in error.lower()


def _box(recipe: Recipe) -> dict[str, Any]:
    box = recipe.box
    found: dict[str, Any] = {"gpus": box.gpus, "cores": box.cores, "ram_gib": box.ram_gib}
    if box.gpus:
        found["gpu"] = box.gpu
    return found | ({"nodes": box.nodes, "network_gb_s": box.network_gb_s} if box.nodes > 1 else {})


def _settings(recipe: Recipe) -> dict[str, Any]:
    kept = {k: v for k, v in recipe.values.items() if k not in _APART and not k.startswith(_PREFIXES)}
    trl = kept.get("trl")
    if isinstance(trl, dict):
        kept["trl"] = {k: v for k, v in trl.items() if k != "reward_funcs"}
    return kept
