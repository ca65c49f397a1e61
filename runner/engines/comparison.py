"""The runner's own statistics over what evaluations, quantizations and benchmarks left; needs no engine."""

from __future__ import annotations

from typing import Any

from runner.engines import Step
from runner.engines.make import failure
from runner.recipe.resolve import Recipe

ENVIRONMENT = "runner"
# of a box that has some it takes none
NEEDS_GPUS = False

__all__ = ["ENVIRONMENT", "context", "failure", "jobs", "steps"]


def jobs(recipe: Recipe) -> tuple[str, ...]:
    return ()


def steps(recipe: Recipe) -> tuple[Step, ...]:
    return (Step("compare", ", ".join(each["label"] for each in recipe.values["runs"])),)


def context(recipe: Recipe) -> dict[str, Any]:
    return {"config": recipe.values}
