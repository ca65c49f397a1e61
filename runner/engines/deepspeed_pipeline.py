"""DeepSpeed pipelines: the layers of a model divided over GPUs, trained by a job of ours on DeepSpeed's own engine."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from runner.engines import Step
from runner.engines.axolotl import failure as python_failure
from runner.engines.deepspeed import deepspeed_config
from runner.facts.boxes import Box
from runner.recipe.resolve import Recipe

ENVIRONMENT = "axolotl"  # DeepSpeed lies there
DATA = "data"
# what the kind's schema gives as defaults, and a recipe may leave out
DEFAULTS: dict[str, Any] = {
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "partition_method": "parameters",
    "deepspeed": "zero1",
    "activation_checkpoint_interval": 0,
    "attn_implementation": "sdpa",
    "bf16": True,
    "tf32": True,
    "lr_scheduler": "cosine",
    "cosine_min_lr_ratio": 0.0,
    "warmup_steps": 0,
    "optimizer": "adamw_torch_fused",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "save_steps": None,
    "save_total_limit": None,
    "logging_steps": 1,
    "seed": 42,
}
# what the job reads as it stands
_TAKEN = (
    "sequence_len", "micro_batch_size", "gradient_accumulation_steps", "partition_method", "max_steps", "save_steps",
    "activation_checkpoint_interval", "attn_implementation", "tf32", "save_total_limit", "logging_steps", "seed",
)  # fmt: skip
# by transformers' names, which the job asks for
_SCHEDULES = {"cosine": "cosine_with_min_lr", "linear": "linear", "constant": "constant_with_warmup"}


def jobs(recipe: Recipe) -> tuple[str, ...]:
    found = ["pipeline.py", "pipeline_layers.py", "pipeline_meter.py", "meter.py", "shards.py"]
    found += ["build_tiny.py"] if recipe.tiny is not None else []
    found += ["text_shards.py"] if recipe.prepared is None else []
    return tuple(found)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = []
    if recipe.tiny is not None:
        found.append(Step("build", "a tokenizer and text to stand in for the real ones"))
    if recipe.prepared is None:
        found.append(Step("tokenize", "the text that the run will read"))
    stages = recipe.values["pipeline_parallel_size"]
    return (*found, Step("train", f"a pipeline of {stages} stage{'' if stages == 1 else 's'}"))


def ranks(recipe: Recipe, box: Box | None = None) -> int:
    """Training processes: one per GPU of the box; on a CPU one per stage."""
    box = box or recipe.box
    return box.total_gpus if box.gpus else int(recipe.values["pipeline_parallel_size"])


def context(recipe: Recipe) -> dict[str, Any]:
    values = {**DEFAULTS, **recipe.values}
    cpu = recipe.box.gpus == 0
    return {
        "pipeline": _job(recipe, values),
        "deepspeed": _deepspeed(recipe, values, cpu),
        "shards": _shards(recipe, values) if recipe.prepared is None else None,
        "architecture": recipe.architecture,
        "ranks": ranks(recipe),
        "cpu": cpu,
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,
    }


def _job(recipe: Recipe, values: dict[str, Any]) -> dict[str, Any]:
    """What jobs/pipeline.py reads beside DeepSpeed's own config."""
    name = _SCHEDULES[values["lr_scheduler"]]
    floor = {"min_lr_rate": values["cosine_min_lr_ratio"]} if values["lr_scheduler"] == "cosine" else {}
    given = {
        "data": recipe.prepared or DATA,
        "tokenizer": values["tokenizer_config"],
        "stages": values["pipeline_parallel_size"],
        "schedule": {"name": name, "warmup_steps": values["warmup_steps"], "settings": floor},
    }
    return given | {key: values[key] for key in _TAKEN}


def copies(recipe: Recipe) -> int:
    """Pipelines side by side, each on data of its own."""
    return max(1, ranks(recipe) // int(recipe.values["pipeline_parallel_size"]))


def _deepspeed(recipe: Recipe, values: dict[str, Any], cpu: bool) -> dict[str, Any]:
    """Every copy of the pipeline is one data parallel rank. Sums of gradients are kept in 32 bits, which in 16 would
    lose the later micro batches."""
    bf16 = bool(values["bf16"]) and not cpu
    config = deepspeed_config(
        values["deepspeed"],
        ranks=copies(recipe),
        micro_batch=values["micro_batch_size"],
        accumulation=values["gradient_accumulation_steps"],
        clip=float(values["max_grad_norm"]),
        bf16=bf16,
        fp16=False,
        hidden=recipe.model.hidden_size if recipe.model else 0,
        cpu=cpu,
    )
    config["zero_optimization"] = {**config["zero_optimization"], "overlap_comm": False}  # no pipeline can
    if bf16:
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    settings = {
        "lr": values["learning_rate"],
        "betas": [values["adam_beta1"], values["adam_beta2"]],
        "eps": values["adam_epsilon"],
        "weight_decay": values["weight_decay"],
        "torch_adam": True,
    }
    settings |= {"fused": True} if values["optimizer"] == "adamw_torch_fused" else {}
    return {**config, "optimizer": {"type": "AdamW", "params": settings}}


def _shards(recipe: Recipe, values: dict[str, Any]) -> dict[str, Any]:
    """What jobs/text_shards.py reads: as many tokens as the run goes through, in whole blocks and one more."""
    blocks = values["max_steps"] * values["gradient_accumulation_steps"] * values["micro_batch_size"] * copies(recipe)
    sources = []
    for item in values["datasets"]:
        load = {"split": "train", **{k: v for k, v in item.items() if k != "field"}}
        sources.append({"field": item.get("field", "text"), "load": load})
    return {
        "to": DATA,
        "tokenizer": values["tokenizer_config"],
        "tokens": blocks * values["sequence_len"] + 1,
        "sources": sources,
    }


_OURS = re.compile(r"(?:BadShards|BadData): .*")


def failure(log: str) -> str | None:
    """What a job of ours said of the data, else the last Python exception."""
    said = [line.strip() for line in log.splitlines() if _OURS.search(line)]
    return _OURS.search(said[-1])[0] if said else python_failure(log)  # type: ignore[index]
