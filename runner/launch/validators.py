"""Recipes -> what the engines' own validators say of what they render, in their environments (runner/jobs/accept).

Each validator is started once for all recipes, since its imports take seconds.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.engines import deepspeed_pipeline
from runner.engines.axolotl import ranks
from runner.engines.environment import Environment
from runner.facts.boxes import Box
from runner.launch.question import OFFLINE, ask_program, last_word
from runner.recipe.load import printable
from runner.recipe.resolve import Recipe

# validator -> the environment that holds it
VALIDATORS = {
    "by_axolotl": "axolotl",
    "by_transformers": "axolotl",
    "by_llmcompressor": "llmcompressor",
    "by_vllm": "vllm",
    "by_sky": "skypilot",
}
# engine -> the validator of what it renders, and which files that reads
_READS = {
    "axolotl": ("by_axolotl", ("axolotl.yaml", "deepspeed.json")),
    "deepspeed_pipeline": ("by_axolotl", ("deepspeed.json",)),
    "transformers": ("by_transformers", ("trainer.yaml", "finetune.yaml")),
    "llmcompressor": ("by_llmcompressor", ("quantize.yaml",)),
}
TIMEOUT_S = 1200
# of the oldest generation that has it: bf16 and tf32 came with Ampere, fp8 with Ada
_AMPERE, _ADA = 80, 89
_ANSWER = "ACCEPT "


@dataclass(frozen=True, slots=True)
class Case:
    """One question: to which validator, and what it reads (runner/jobs/accept)."""

    validator: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """`by` whom, in whose words (`said`), about which `keys`, dotted, the likeliest first; or what would be `dropped`
    without a word."""

    by: str
    said: str
    keys: tuple[str, ...] = ()
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """No `problems`: it accepts. `assumed` are libraries without which the rest was looked at."""

    problems: tuple[Problem, ...] = ()
    assumed: tuple[str, ...] = ()


class Unanswered(Exception):
    """The validator ended before it had answered; the message is the last that it said."""


def cases_of(recipe: Recipe, files: Mapping[str, str]) -> list[Case]:
    """What can be asked of a recipe and the `files` that it renders: nothing of engines that have no validator."""
    found = []
    if recipe.engine in _READS:
        validator, names = _READS[recipe.engine]
        text = {name: files[name] for name in names if name in files}
        text |= {name: files[name] for name in files if name.endswith(".py") and not name.startswith("jobs/")}
        found.append(Case(validator, {"files": text, **_machine(recipe)}))
    if servers := _servers(recipe, files):
        found.append(Case("by_vllm", {"files": {}, "servers": servers}))
    if "task.sky.yaml" in files:
        found.append(Case("by_sky", {"files": {"task.sky.yaml": files["task.sky.yaml"]}}))
    return found


def _machine(recipe: Recipe) -> dict[str, Any]:
    if recipe.engine == "axolotl":
        return {"gpus": capabilities(recipe.box), "ranks": ranks(recipe)}
    if recipe.engine == "deepspeed_pipeline":
        stages = int(recipe.values["pipeline_parallel_size"])
        return {"ranks": deepspeed_pipeline.ranks(recipe) // stages}
    return {}


def capabilities(box: Box) -> dict[str, Any]:
    """A box in the words of Axolotl's validator."""
    generation = int(box.compute_capability.removeprefix("sm_")) if box.gpus and box.compute_capability else 0
    return {
        "bf16": generation >= _AMPERE,
        "tf32": generation >= _AMPERE,
        "fp8": generation >= _ADA,
        "n_gpu": box.total_gpus,
        "compute_capability": box.compute_capability if box.gpus else None,
    }


def _servers(recipe: Recipe, files: Mapping[str, str]) -> list[dict[str, Any]]:
    """vLLM's command lines, each once: replicas differ in their port alone."""
    found = []
    for name, text in files.items():
        if not name.endswith(".json") or '"replicas"' not in text:
            continue
        replicas = json.loads(text).get("replicas") or []
        if replicas and replicas[0]["argv"][:2] == ["vllm", "serve"]:
            config = _config(recipe) if recipe.engine == "vllm" else None
            found.append({"argv": replicas[0]["argv"], "config": config})
    return found


def _config(recipe: Recipe) -> dict[str, Any] | None:
    if recipe.tiny is not None:
        return dict(recipe.tiny.config)
    if recipe.model is None:
        return None
    config = dict(recipe.model.config)
    if "counts_as" in config:  # a class of one's own, which vLLM takes for one that it knows
        config["model_type"] = config["counts_as"]
    return config


def ask(validator: str, env: Environment, bodies: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """One process for all, in order. Raises Unanswered."""
    with tempfile.TemporaryDirectory(prefix="accept-") as folder:
        file = Path(folder) / "cases.json"
        file.write_text(json.dumps([{"name": str(i), **body} for i, body in enumerate(bodies)]))
        try:
            done = ask_program(env, ["-m", f"accept.{validator}", str(file)], Path(folder), _VARIABLES, TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Unanswered(f"no answer within {TIMEOUT_S} s") from None
    rows = [json.loads(line.removeprefix(_ANSWER)) for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if len(rows) < len(bodies):
        raise Unanswered(last_word(done.stderr, 300) or f"it ended with exit code {done.returncode}")
    return [_answer(row) for row in rows]


_VARIABLES = {**OFFLINE, "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}


def _answer(row: Mapping[str, Any]) -> Answer:
    problems = (Problem(p["by"], printable(p["said"], 600), tuple(p["keys"]), p["dropped"]) for p in row["problems"])
    return Answer(tuple(problems), tuple(row["assumed"]))
