"""Axolotl: every training kind. One config, torchrun where there are several ranks, merging as a last step."""

from __future__ import annotations

import re
from typing import Any

from runner.engines import Step
from runner.engines.deepspeed import deepspeed_config
from runner.recipe.resolve import Recipe

ENVIRONMENT = "axolotl"
JOBS = ("axolotl_plugin.py", "build_tiny.py")
OUTPUT = "output"
PLUGIN = "axolotl_plugin.RunnerPlugin"
# processes that stand in for the GPUs when a sharded recipe is smoked on a CPU
CPU_RANKS = 2


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = []
    if recipe.tiny is not None:
        found.append(Step("build", "a tiny model to stand in for the real one"))
    found.append(Step("train", _what(recipe)))
    if recipe.merge:
        found.append(Step("merge", "the adapter into its base"))
    return tuple(found)


def _what(recipe: Recipe) -> str:
    method = recipe.values.get("rl") or ("reward" if recipe.values.get("reward_model") else recipe.kind)
    adapter = recipe.values.get("adapter")
    return f"{method}" + (f" with {adapter}" if adapter else "")


def ranks(recipe: Recipe) -> int:
    """Training processes: one per GPU of the box; on a CPU two where the recipe shards, else one."""
    if recipe.box.gpus:
        return recipe.box.gpus
    return CPU_RANKS if recipe.values.get("deepspeed") else 1


def context(recipe: Recipe) -> dict[str, Any]:
    cpu = recipe.box.gpus == 0
    config = _config(recipe)
    return {
        "config": config,
        "deepspeed": _deepspeed(recipe, cpu) if recipe.values.get("deepspeed") else None,
        "architecture": recipe.architecture,
        "ranks": ranks(recipe),
        "cpu": cpu,
        "online": recipe.profile != "smoke",
        "tiny": _tiny(recipe),
        "merge": _merge_config(config) if recipe.merge else None,
    }


def _merge_config(config: dict[str, Any]) -> dict[str, Any]:
    """For `merge-lora`, one process: with `deepspeed` in its config it waits for ranks that nobody starts."""
    return {
        key: value for key, value in config.items() if key not in ("deepspeed", "fsdp", "fsdp_config", "fsdp_version")
    }


def _config(recipe: Recipe) -> dict[str, Any]:
    """The recipe's Axolotl keys as they stand, plus the few that are the runner's to set."""
    config = dict(recipe.values)
    if recipe.architecture is not None:
        config["base_model"] = "./model"
        config["reinit_weights"] = True
    if config.get("deepspeed"):
        config["deepspeed"] = "deepspeed.json"
    trl = config.get("trl")
    if isinstance(trl, dict) and "reward_funcs" in trl:
        config["trl"] = {**trl, "reward_funcs": [_reward(f) for f in trl["reward_funcs"]]}
    config["plugins"] = [*config.get("plugins", []), PLUGIN]
    config["output_dir"] = f"./{OUTPUT}"
    config["dataset_prepared_path"] = "./prepared"
    # running the same directory again goes on from its newest checkpoint
    config["auto_resume_from_checkpoints"] = True
    return config


def _reward(function: str) -> str:
    """A reward model's directory, spelt so that Axolotl sees a path.

    It first tries to import everything before the last dot, and only a module that isn't there makes it look for a
    directory; a path without any dot would be an empty module name, which is another error.
    """
    return function.replace("/output", "/./output") if function.startswith("/") else function


def _deepspeed(recipe: Recipe, cpu: bool) -> dict[str, Any]:
    values = recipe.values
    hidden = (
        recipe.tiny.config.get("hidden_size", 0) if recipe.tiny else recipe.model.hidden_size if recipe.model else 0
    )
    return deepspeed_config(
        values["deepspeed"],
        ranks=ranks(recipe),
        micro_batch=int(values.get("micro_batch_size", 1)),
        accumulation=int(values.get("gradient_accumulation_steps", 1)),
        clip=float(values.get("max_grad_norm", 1.0)),
        bf16=values.get("bf16", "auto") in (True, "auto", "full") and not cpu,
        fp16=bool(values.get("fp16")) and not cpu,
        hidden=hidden,
        cpu=cpu,
    )


def _tiny(recipe: Recipe) -> dict[str, Any] | None:
    """The spec that jobs/build_tiny.py reads."""
    if recipe.tiny is None:
        return None
    tiny = recipe.tiny
    return {
        "config": tiny.config,
        "path": tiny.path,
        "weights": tiny.weights,
        "text": tiny.text,
        "tokenizer": tiny.tokenizer,
    }


_ERROR = re.compile(r"^(?:\[rank\d+\]:\s*)?((?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt))(?::.*)?)$")
_VALUE = re.compile(r"^\s*(?:Value|Assertion) error, (?P<said>.*?)(?: \[type=.*)?$")


def failure(log: str) -> str | None:
    """The last Python exception that isn't torchrun's own report of a failed child; of a config that Axolotl's
    validator refuses, what the validator said."""
    found = None
    refused = False
    for line in log.splitlines():
        match = _ERROR.match(line.strip())
        value = _VALUE.match(line) if refused else None
        if value:
            found = f"Axolotl refuses the config: {value['said']}"
        elif match and "ChildFailedError" not in line:
            found = match[1]
        refused = bool(match and "ValidationError" in line) or (refused and line.startswith(" ") and not value)
    return found
