"""Axolotl: every training kind. One config, torchrun where there are several ranks, merging as a last step."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from runner.engines import Step, images
from runner.engines.deepspeed import deepspeed_config
from runner.facts.boxes import Box
from runner.recipe.resolve import Recipe
from runner.recipe.rules.axolotl.managed import MANAGED

ENVIRONMENT = "axolotl"
OUTPUT = "output"
# A local base model is linked into the run under this name. Axolotl looks for families in the text of `base_model`, so
# that below a folder called `prompts` it takes every model for an MPT, and refuses gradient checkpointing.
BASE = "base"
# Axolotl saves a checkpoint when this file appears (utils/callbacks/dynamic_checkpoint.py)
SAVES_ON_REQUEST = f"{OUTPUT}/axolotl_checkpoint.save"
PLUGIN = "axolotl_plugin.RunnerPlugin"
TENSOR_PLUGIN = "tensor_parallel.TensorParallelPlugin"
# processes that stand in for the GPUs when a sharded recipe is smoked on a CPU
CPU_RANKS = 2


def also(recipe: Recipe) -> tuple[str, ...]:
    return (images.SERVER,) if images.has_images(recipe) and images.serves(recipe) else ()


def jobs(recipe: Recipe) -> tuple[str, ...]:
    found = ["axolotl_plugin.py", "cpu_ranks.py", "experts.py", "meter.py", "shards.py"]
    if recipe.tiny is not None:
        found.append("build_tiny.py")
    if recipe.merge and recipe.values.get("reward_model"):
        found.append("merge_reward.py")
    found += ["tensor_parallel.py"] if _mends_tensors(recipe) else []
    found += ["random_weights.py"] if _writes_weights(recipe) else []
    found += images.jobs(recipe) if images.has_images(recipe) else ()
    return tuple(found)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = []
    if recipe.tiny is not None:
        found.append(Step("build", "a tiny model to stand in for the real one"))
    if _writes_weights(recipe):
        found.append(Step("init", "random weights, which each GPU loads its part of"))
    if images.has_images(recipe):
        found.append(images.before(recipe))
    found.append(Step("train", _what(recipe)))
    if recipe.merge:
        found.append(Step("merge", "the adapter into its base"))
    found += images.after(recipe) if images.has_images(recipe) else ()
    return tuple(found)


def _what(recipe: Recipe) -> str:
    method = recipe.values.get("rl") or ("reward" if recipe.values.get("reward_model") else recipe.kind)
    adapter = recipe.values.get("adapter")
    return f"{method}" + (f" with {adapter}" if adapter else "")


def ranks(recipe: Recipe, box: Box | None = None) -> int:
    """Training processes: one per GPU of the box; on a CPU two where the recipe shards, or says `ddp`, else one, and
    one for each node."""
    box = box or recipe.box
    if box.gpus:
        return box.total_gpus
    several = any(recipe.values.get(key) for key in ("deepspeed", "ddp")) or _tensor_parallel(recipe)
    return max(CPU_RANKS if several else 1, box.nodes)


def _tensor_parallel(recipe: Recipe) -> bool:
    return (recipe.values.get("tensor_parallel_size") or 1) > 1


def _writes_weights(recipe: Recipe) -> bool:
    """A model that Axolotl makes anew is whole on every rank: what divides weights is what loads them."""
    return _tensor_parallel(recipe) and recipe.architecture is not None


def _mends_tensors(recipe: Recipe) -> bool:
    """FSDP2 has its own way with tensors that are not divided (jobs/tensor_parallel.py)."""
    return _tensor_parallel(recipe) and not any(key.startswith("fsdp") for key in recipe.values)


def context(recipe: Recipe) -> dict[str, Any]:
    cpu = recipe.box.gpus == 0
    config = _config(recipe)
    base = str(recipe.values.get("base_model", ""))
    return {
        "config": config,
        "deepspeed": _deepspeed(recipe, cpu) if recipe.values.get("deepspeed") else None,
        "architecture": recipe.architecture,
        "base": {"link": BASE, "target": base} if _is_local(base) else None,
        "ranks": ranks(recipe),
        "cpu": cpu,
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,  # the spec that jobs/build_tiny.py reads
        "merge": _merge_config(config) | images.merging(recipe) if recipe.merge else None,
        "reward_model": bool(recipe.values.get("reward_model")),
        "init_seed": _seed(recipe) if _writes_weights(recipe) else None,
        **(images.context(recipe, config["base_model"]) if images.has_images(recipe) else {}),
    }


def _seed(recipe: Recipe) -> int:
    return int(recipe.values.get("seed") or 42)  # Axolotl's own default


def _merge_config(config: dict[str, Any]) -> dict[str, Any]:
    """For merging, in one process: with `deepspeed` in its config `merge-lora` waits for ranks that nobody starts."""
    return {k: v for k, v in config.items() if k not in ("deepspeed", "fsdp", "fsdp_config", "fsdp_version")}


def _is_local(model: str) -> bool:
    return model.startswith("/")


def _config(recipe: Recipe) -> dict[str, Any]:
    """The recipe's Axolotl keys as they stand, plus the few that are the runner's to set."""
    config = images.config(recipe.values) if images.has_images(recipe) else dict(recipe.values)
    config = {key: value for key, value in config.items() if key not in MANAGED}
    if recipe.prepared is not None:
        config |= _prepared(recipe.prepared, config)
    if recipe.architecture is not None:
        config["base_model"] = "./model"
        config["reinit_weights"] = not _writes_weights(recipe)
    elif _is_local(config["base_model"]):
        config["base_model"] = f"./{BASE}"
    if config.get("deepspeed"):
        config["deepspeed"] = "deepspeed.json"
    if _quantizes_experts(recipe):
        config["quantize_moe_experts"] = True
    trl = config.get("trl")
    if isinstance(trl, dict) and "reward_funcs" in trl:
        config["trl"] = {**trl, "reward_funcs": [_reward(f) for f in trl["reward_funcs"]]}
    config["plugins"] = [*config.get("plugins", []), PLUGIN, *([TENSOR_PLUGIN] if _mends_tensors(recipe) else [])]
    config["output_dir"] = f"./{OUTPUT}"
    config["dataset_prepared_path"] = "./prepared"
    # running the same directory again goes on from its newest checkpoint
    config["auto_resume_from_checkpoints"] = True
    if recipe.box.scheduler is not None:
        # job.sbatch asks for a checkpoint by this file before the time limit; rank 0 looks for it after each step
        config.setdefault("dynamic_checkpoint", {"enabled": True, "check_interval": 1})
    return config


def plain(recipe: Recipe) -> dict[str, Any]:
    """The config for Axolotl alone: without what only our runs have, DeepSpeed's config a part of it."""
    ours = ("plugins", "output_dir", "dataset_prepared_path", "auto_resume_from_checkpoints", "dynamic_checkpoint")
    given = recipe.values
    config = {key: value for key, value in _config(recipe).items() if key not in ours or key in given}
    config |= {key: given[key] for key in ours if key in given}
    if recipe.architecture is not None:
        config["reinit_weights"] = True
    else:
        config["base_model"] = given["base_model"]
    if config.get("deepspeed"):
        config["deepspeed"] = _deepspeed(recipe, recipe.box.gpus == 0)
    return config


def _prepared(folder: str, config: dict[str, Any]) -> dict[str, Any]:
    """Our plugin hands Axolotl the shards; its validator still wants `datasets`, and where the recipe evaluates,
    something to evaluate on."""

    def rows(split: str) -> list[dict[str, Any]]:
        return [{"path": f"{folder}/{split}", "type": "completion", "split": split}]

    evaluates = any(config.get(key) for key in ("eval_steps", "evals_per_epoch", "eval_strategy"))
    found = {"prepared": folder, "datasets": rows("train"), "sample_packing": False}
    return {**found, "test_datasets": rows("validation")} if evaluates else found


def _quantizes_experts(recipe: Recipe) -> bool:
    """transformers 5 keeps a layer's experts in one stacked parameter, which bitsandbytes does not see: unless Axolotl
    is told to, a model of experts loaded in 4 bits stays almost whole in 16. With all linear layers as targets it
    refuses to."""
    values = recipe.values
    low = (values.get("load_in_4bit") or values.get("load_in_8bit")) and values.get("adapter")
    told = "quantize_moe_experts" in values or values.get("lora_target_linear")
    experts = recipe.model is not None and recipe.model.experts > 0
    return bool(low) and experts and not told and recipe.box.gpus > 0


def _reward(function: str) -> str:
    """A reward model's directory, spelt so that Axolotl sees a path.

    It first tries to import everything before the last dot, and only a module that isn't there makes it look for a
    directory; a path without any dot would be an empty module name, which is another error.
    """
    if not _is_local(function):
        return function
    folder, _, name = function.rpartition("/")
    return f"{folder}/./{name}"


def _deepspeed(recipe: Recipe, cpu: bool) -> dict[str, Any]:
    values = recipe.values
    # as Axolotl settles it: one format, bf16 where it is told, and where nothing is
    bf16 = values.get("bf16", "auto") in (True, "full") or (
        values.get("bf16", "auto") == "auto" and not values.get("fp16")
    )
    hidden = (
        recipe.tiny.config.get("hidden_size", 0) if recipe.tiny else recipe.model.hidden_size if recipe.model else 0
    )
    return deepspeed_config(
        values["deepspeed"],
        ranks=ranks(recipe),
        micro_batch=int(values.get("micro_batch_size", 1)),
        accumulation=int(values.get("gradient_accumulation_steps", 1)),
        clip=float(values.get("max_grad_norm", 1.0)),
        bf16=bf16 and not cpu,
        fp16=bool(values.get("fp16")) and not bf16 and not cpu,
        hidden=hidden,
        cpu=cpu,
    )


_RANK = re.compile(r"^\[rank\d+\]:\s?")
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)(?::.*)?")
# below a pydantic error: the key on a line of its own, then what is wrong with it
_KEY = re.compile(r"[A-Za-z_][\w.\[\]'-]*")
_WRONG = re.compile(r"\s+(?:(?:Value|Assertion) error, )?(?P<said>\S.*?)(?: \[type=.*)?")
# torchrun's report of a process that ended without a word of its own
_KILLED = re.compile(r"\s*traceback : Signal \d+ \((?P<name>SIG\w+)\) received by PID \d+")


def failure(log: str) -> str | None:
    """The last Python exception that isn't torchrun's own report of a failed child; of a config that Axolotl's
    validator refuses, what the validator said; the signal that ended a rank. A job of ours says it in one line."""
    if said := images.failure(log):
        return said
    found = key = None
    refused = False
    for line in (_RANK.sub("", line) for line in log.splitlines()):
        error = _ERROR.fullmatch(line.strip())
        if error and "ChildFailedError" not in line:
            found, refused, key = error[0], "ValidationError" in line, None
        elif refused and (wrong := _WRONG.fullmatch(line)):
            found = f"Axolotl refuses the config: {f'`{key}`: ' if key else ''}{wrong['said']}"
            refused = False
        elif refused:
            key, refused = (line, True) if _KEY.fullmatch(line) else (None, False)
        killed = _KILLED.fullmatch(line)
        if killed and killed["name"] != "SIGTERM":  # which torchrun sends to the others
            found = f"a process was ended by {killed['name']}"
            found += ", as the system does when memory runs short" if killed["name"] == "SIGKILL" else ""
    return found
