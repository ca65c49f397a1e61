"""Any recipe -> its plan: a model's, a sweep's, a data preparation's, an endpoint's, a benchmark's, or an index's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.facts.boxes import Box
from runner.plan.bench import KIND as BENCH
from runner.plan.bench import BenchPlan, plan_bench
from runner.plan.make import make_plan
from runner.plan.preparation import KIND as PREPARE
from runner.plan.preparation import Preparation, plan_preparation
from runner.plan.quantization import KIND as QUANTIZE
from runner.plan.rag import KIND as RAG
from runner.plan.rag import RagPlan, plan_rag
from runner.plan.serving.recipe import plan_recipe
from runner.plan.serving.types import ServingPlan
from runner.plan.sweep import SweepPlan, make_sweep_plan
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.kinds import kind_schema, serves
from runner.recipe.resolve import Recipe

AnyPlan = Plan | SweepPlan | Preparation | ServingPlan | BenchPlan | RagPlan
# keys of which a kind that trains has one
TRAINED = frozenset(("architecture", "base_model", "base"))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is planned: `box` and `price` as in make_plan, `locate` as in resolve."""

    project: Project
    recipe: Recipe
    locate: Callable[[str, str], Path | None]
    box: Box | None
    price: float | None


def _trained(asked: Asked) -> AnyPlan:
    if asked.recipe.children:
        return make_sweep_plan(asked.project, asked.recipe, asked.locate, price=asked.price)
    return make_plan(asked.recipe, asked.box, price=asked.price)


# kinds that train nothing, and so have plans of their own; every kind that serves has the serving plan
PLANNERS: dict[str, Callable[[Asked], AnyPlan]] = {
    PREPARE: lambda a: plan_preparation(a.recipe, a.box),
    BENCH: lambda a: plan_bench(a.project, a.recipe, a.box, a.price),
    QUANTIZE: _trained,  # by make_plan, which knows it
    RAG: lambda a: plan_rag(a.project, a.recipe, a.box, a.price),
}


def _planner(kind: str) -> Callable[[Asked], AnyPlan] | None:
    if kind in PLANNERS:
        return PLANNERS[kind]
    if serves(kind):
        return lambda a: plan_recipe(a.recipe, a.box, a.price)
    return _trained if TRAINED & set(kind_schema(kind)["properties"]) else None


def has_plan(kind: str) -> bool:
    """Whether a kind trains, quantizes, serves or benchmarks a model, prepares or indexes data, or runs others that do;
    comparing tokenizers is none of these."""
    return _planner(kind) is not None


def plan_any(
    project: Project,
    recipe: Recipe,
    locate: Callable[[str, str], Path | None],
    box: Box | None = None,
    price: float | None = None,
) -> AnyPlan:
    """`box` and `price` as in make_plan; a sweep's children have the boxes that they name. Raises what that raises."""
    return (_planner(recipe.kind) or _trained)(Asked(project, recipe, locate, box, price))
