"""llm-compressor and bitsandbytes: quantize a model, then hold it against what it was (jobs/quantize/)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.axolotl import failure as traceback_in
from runner.facts.schemes import group_of, method_of, needs_calibration, scheme_of
from runner.recipe.kinds import header_keys, kind_schema
from runner.recipe.resolve import Recipe

ENVIRONMENT = "llmcompressor"
PACKAGE = "quantize"
# a line of the job's own, where it knows what is wrong
SAID = "quantize: error: "
# what keys mean that a recipe leaves out, and that only one method, or none, listens to; the schema can't say that
PLAIN: dict[str, Any] = {
    "smoothing_strength": None,
    "tasks": [],
    "limit": None,
    "num_fewshot": None,
    "held_out_windows": None,
}
OWN: dict[str, dict[str, Any]] = {
    "gptq": {"dampening_frac": 0.01, "block_size": 128, "actorder": "static"},
    "awq": {"duo_scaling": True, "n_grid": 20},
    "bitsandbytes": {"bnb_4bit_use_double_quant": True},
}


def jobs(recipe: Recipe) -> tuple[str, ...]:
    package = sorted(f"{PACKAGE}/{file.name}" for file in (jobs_dir() / PACKAGE).glob("*.py"))
    return ("shards.py", *(("build_tiny.py",) if recipe.tiny is not None else ()), *package)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = [] if recipe.tiny is None else [Step("build", "a tiny model to stand in for the real one")]
    how = {"rtn": "rounded to nearest", "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes"}
    found.append(Step("quantize", f"{recipe.values['scheme']}, {how[method_of(recipe.values)]}"))
    found.append(
        Step("gate", "perplexity" + (" and tasks" if recipe.values.get("tasks") else "") + " before and after")
    )
    return tuple(found)


def config(recipe: Recipe) -> dict[str, Any]:
    """Every key with its value or default, and what follows from them: jobs/quantize has none of its own."""
    properties = kind_schema(recipe.kind)["properties"].items()
    known = {k: s["default"] for k, s in properties if k not in header_keys() and "default" in s}
    method, least = method_of(recipe.values), scheme_of(recipe.values).recovery
    values = {**PLAIN, **OWN.get(method, {}), **known, **recipe.values}
    return {
        **dict(sorted(values.items())),
        "method": method,
        "group_size": group_of(values) or None,
        "calibrated": needs_calibration(values),
        "gate": {"perplexity": least, "task": least, **(recipe.values.get("gate") or {})},
    }


def context(recipe: Recipe) -> dict[str, Any]:
    return {
        "config": config(recipe),
        "cpu": recipe.box.gpus == 0,
        "online": recipe.profile != "smoke",
        "threads": int(recipe.profile == "smoke"),
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,  # the spec that jobs/build_tiny.py reads
    }


def failure(log: str) -> str | None:
    said = [line.removeprefix(SAID) for line in log.splitlines() if line.startswith(SAID)]
    return said[-1] if said else traceback_in(log)
