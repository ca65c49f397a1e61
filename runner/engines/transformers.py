"""transformers' own Trainer, for what Axolotl does not train: jobs/trainer/, in Axolotl's environment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.axolotl import failure as traceback_in
from runner.facts.boxes import Box
from runner.recipe.model_code import read_code
from runner.recipe.resolve import Recipe

ENVIRONMENT = "axolotl"
OUTPUT = "output"
# jobs/trainer/interrupts.py saves a checkpoint when this file appears
SAVES_ON_REQUEST = f"{OUTPUT}/axolotl_checkpoint.save"
PACKAGE = "trainer"
# a line of the job's own, where it knows what is wrong
SAID = "trainer: error: "
# what the second stage of a kind learns, and where it leaves it
FINETUNES = {"masked-lm": "classification", "seq2seq": "text-to-text", "flamingo": "captioning"}
# kinds whose second stage learns from the rows of the first
SAME_ROWS = ("flamingo",)
FINETUNED = "finetuned"
# keys of the first stage that mean its model and its data
_FIRST = (
    "architecture", "model_code", "prepared", "tokenizer_config", "datasets", "test_datasets", "val_set_size",
    "generation", "mlm_probability", "mask_replace_prob", "random_replace_prob", "noise_density",
    "mean_noise_span_length",
)  # fmt: skip


def jobs(recipe: Recipe) -> tuple[str, ...]:
    packages = (PACKAGE, "multimodal") if recipe.kind == "flamingo" else (PACKAGE,)
    package = [f"{name}/{file.name}" for name in packages for file in sorted((jobs_dir() / name).glob("*.py"))]
    tiny = ("build_tiny.py",) if recipe.tiny is not None else ()
    return ("cpu_ranks.py", "experts.py", "facts.py", "meter.py", "shards.py", *tiny, *package)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = []
    if recipe.tiny is not None:
        found.append(Step("build", "a tokenizer and text to stand in for the real ones"))
    found.append(Step("train", objective(recipe)))
    if "finetune" in recipe.values:
        found.append(Step("finetune", FINETUNES[recipe.kind]))
    return tuple(found)


def ranks(recipe: Recipe, box: Box | None = None) -> int:
    """Training processes: one per GPU of the box; on CPUs one for each node."""
    box = box or recipe.box
    return box.total_gpus or box.nodes


def objective(recipe: Recipe) -> str:
    return str(recipe.values.get("objective", recipe.kind))


def context(recipe: Recipe) -> dict[str, Any]:
    cpu = recipe.box.gpus == 0
    config = _config(recipe, cpu)
    return {
        "config": config,
        "finetune": _finetune(recipe, config) if "finetune" in recipe.values else None,
        "ranks": ranks(recipe),
        "cpu": cpu,
        # one process, so that torch may take every core; but smoke runs two recipes at a time
        "threads": int(recipe.profile == "smoke"),
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,  # the spec that jobs/build_tiny.py reads
        "modules": _modules(recipe),
    }


def _modules(recipe: Recipe) -> dict[str, str]:
    """The file of a model class of the user's own, by the name of its module: a run has a copy, as of all it runs."""
    code = recipe.model_code
    return {} if code is None else {Path(code["file"]).stem: read_code(Path(code["path"]))}


def _config(recipe: Recipe, cpu: bool) -> dict[str, Any]:
    """The recipe's keys as they stand, plus the few that are the runner's to set."""
    config: dict[str, Any] = {"objective": objective(recipe)}
    config |= {key: value for key, value in recipe.values.items() if key != "finetune"}
    if recipe.architecture is not None:
        config["architecture"] = recipe.architecture
    if recipe.model_code is not None:
        config["model_code"] = {key: value for key, value in recipe.model_code.items() if key != "path"}
    if recipe.prepared is not None:
        config["prepared"] = recipe.prepared
    config |= {
        "output_dir": f"./{OUTPUT}",
        "report_to": recipe.values.get("report_to") or "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,  # batches hold what the model takes, and nothing else
    }
    if cpu:
        config |= {"use_cpu": True, "dataloader_pin_memory": False}
    return config


def _finetune(recipe: Recipe, first: dict[str, Any]) -> dict[str, Any]:
    """The second stage: the first one's keys where it has none of its own, from the model that the first one leaves."""
    own: dict[str, Any] = recipe.values["finetune"]
    kept = ("datasets", "test_datasets", "val_set_size") if recipe.kind in SAME_ROWS else ()
    config = {key: value for key, value in first.items() if key not in _FIRST or key in kept}
    if "num_train_epochs" in own and "max_steps" not in own:
        config.pop("max_steps", None)
    return (
        config
        | own
        | {
            "objective": FINETUNES[recipe.kind],
            "part": "finetune",
            "base_model": f"./{OUTPUT}",
            "tokenizer_config": f"./{OUTPUT}",
            "output_dir": f"./{FINETUNED}",
        }
    )


def failure(log: str) -> str | None:
    said = [line.removeprefix(SAID) for line in log.splitlines() if line.startswith(SAID)]
    return said[-1] if said else traceback_in(log)
