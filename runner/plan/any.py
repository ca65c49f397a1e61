"""Any recipe -> its plan: a model's, a sweep's, a data preparation's, an endpoint's, or a benchmark's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runner.facts.boxes import Box
from runner.plan.bench import KIND as BENCH
from runner.plan.bench import BenchPlan, plan_bench
from runner.plan.make import make_plan
from runner.plan.preparation import KIND as PREPARE
from runner.plan.preparation import Preparation, plan_preparation
from runner.plan.quantization import KIND as QUANTIZE
from runner.plan.serving.recipe import plan_recipe
from runner.plan.serving.types import ServingPlan
from runner.plan.sweep import SweepPlan, make_sweep_plan
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.kinds import kind_schema, serves
from runner.recipe.resolve import Recipe

AnyPlan = Plan | SweepPlan | Preparation | ServingPlan | BenchPlan


def has_plan(kind: str) -> bool:
    """Whether a kind trains, quantizes, serves or benchmarks a model, prepares data, or runs others that do; comparing
    tokenizers is none of these."""
    trained = {"architecture", "base_model", "base"}
    planned = kind in (PREPARE, QUANTIZE, BENCH) or serves(kind)
    return planned or bool(trained & set(kind_schema(kind)["properties"]))


def plan_any(
    project: Project,
    recipe: Recipe,
    locate: Callable[[str, str], Path | None],
    box: Box | None = None,
    price: float | None = None,
) -> AnyPlan:
    """`box` and `price` as in make_plan; a sweep's children have the boxes that they name. Raises what that raises."""
    if recipe.children:
        return make_sweep_plan(project, recipe, locate, price=price)
    if recipe.kind == PREPARE:
        return plan_preparation(recipe, box)
    if recipe.kind == BENCH:
        return plan_bench(project, recipe, box, price)
    if serves(recipe.kind):
        return plan_recipe(recipe, box, price)
    return make_plan(recipe, box, price=price)
