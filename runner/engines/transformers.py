"""transformers' own Trainer, for what Axolotl does not train: jobs/trainer/ in Axolotl's environment, one file a stage."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.axolotl import failure as traceback_in
from runner.recipe.resolve import Recipe

ENVIRONMENT = "axolotl"
OUTPUT = "output"
PACKAGE = "trainer"
# a line of the job's own, where it knows what is wrong
SAID = "trainer: error: "


def jobs(recipe: Recipe) -> tuple[str, ...]:
    package = sorted(f"{PACKAGE}/{file.name}" for file in (jobs_dir() / PACKAGE).glob("*.py"))
    return ("meter.py", "shards.py", *(("build_tiny.py",) if recipe.tiny is not None else ()), *package)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = []
    if recipe.tiny is not None:
        found.append(Step("build", "a tokenizer and text to stand in for the real ones"))
    found.append(Step("train", objective(recipe)))
    return tuple(found)


def objective(recipe: Recipe) -> str:
    return str(recipe.values.get("objective", recipe.kind))


def context(recipe: Recipe) -> dict[str, Any]:
    cpu = recipe.box.gpus == 0
    return {
        "config": _config(recipe, cpu),
        "ranks": max(1, recipe.box.total_gpus),
        "cpu": cpu,
        "threads": 0,  # one process, so that torch may take every core
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,  # the spec that jobs/build_tiny.py reads
    }


def _config(recipe: Recipe, cpu: bool) -> dict[str, Any]:
    """The recipe's keys as they stand, plus the few that are the runner's to set."""
    config: dict[str, Any] = {"objective": objective(recipe), **recipe.values}
    if recipe.architecture is not None:
        config["architecture"] = recipe.architecture
    if recipe.prepared is not None:
        config["prepared"] = recipe.prepared
    config |= {
        "output_dir": f"./{OUTPUT}",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,  # batches hold what the model takes, and nothing else
    }
    if cpu:
        config |= {"use_cpu": True, "dataloader_pin_memory": False}
    return config


def failure(log: str) -> str | None:
    said = [line.removeprefix(SAID) for line in log.splitlines() if line.startswith(SAID)]
    return said[-1] if said else traceback_in(log)
