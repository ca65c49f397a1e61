"""Hugging Face's tokenizers library: several are trained on one text and compared; it lies in Axolotl's environment."""

from __future__ import annotations

from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.transformers import PACKAGE, failure
from runner.recipe.resolve import Recipe

ENVIRONMENT = "axolotl"
# of a box that has some it takes none
NEEDS_GPUS = False
_READERS = ("__init__", "generated", "settings", "sources")

__all__ = ["ENVIRONMENT", "context", "failure", "jobs", "steps"]


def jobs(recipe: Recipe) -> tuple[str, ...]:
    shared = tuple(f"{PACKAGE}/{name}.py" for name in _READERS if (jobs_dir() / PACKAGE / f"{name}.py").is_file())
    return ("compare_tokenizers.py", "facts.py", *shared)  # which `generated` reads


def steps(recipe: Recipe) -> tuple[Step, ...]:
    return (Step("compare", ", ".join(recipe.values["algorithms"])), Step("plot", "tokens per word, and by size"))


def context(recipe: Recipe) -> dict[str, Any]:
    return {"config": recipe.values, "cpu": recipe.box.gpus == 0, "online": recipe.profile != "smoke", "threads": 0}
