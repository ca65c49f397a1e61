"""A recipe that serves -> its serving plan, and the recipe with the layout that the plan chose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.diagnostics import Diagnostic
from runner.facts.boxes import Box
from runner.facts.models import Model, find_model
from runner.plan.reading import Unplannable
from runner.plan.serving.layout import for_latency, for_throughput, layouts
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import METHODS, Settings, method_of, settings_from
from runner.plan.serving.types import ServingPlan
from runner.recipe.kinds import kind_schema
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe

# keys that a mend may name
KNOBS = ("max_model_len", "tensor_parallel_size", "quantization")
LAYOUTS = {"throughput": for_throughput, "latency": for_latency}


def plan_recipe(recipe: Recipe, box: Box | None = None, price: float | None = None) -> ServingPlan:
    """`box` instead of the recipe's own, `price` in USD per hour of it. Raises Unplannable where the model is not
    known, and ValueError for what vLLM refuses and for a box without GPUs."""
    return chosen(recipe, _node(box or recipe.box, price))


def chosen(recipe: Recipe, box: Box) -> ServingPlan:
    """The layout that the recipe names, or the best for what its `layout` asks."""
    plans = candidates(recipe, box)
    return plans[0] if len(plans) == 1 else LAYOUTS[str(recipe.values.get("layout") or "throughput")](plans)


def compared(recipe: Recipe, box: Box | None = None) -> list[ServingPlan]:
    """The layouts that the recipe leaves open, for a box as in plan_recipe."""
    return candidates(recipe, _node(box or recipe.box))


def unfit_endpoint(plan: ServingPlan, recipe: Recipe) -> Diagnostic:
    """What is short, at the key that the mend is about (R201)."""
    named = next((key for key in KNOBS if f"`{key}" in plan.help and recipe.doc.find(key) is not None), None)
    node = recipe.doc.nearest((named or "model",))
    help = plan.help or "name a larger box with `--box`"
    return Diagnostic("R201", f"it does not fit `{plan.box}`: {plan.verdict}", node.key, help=help)


def refuse_unfit_endpoint(recipe: Recipe) -> None:
    """Raises Refused before anything is started: where the model can't fit (R201), or no plan can be made of the values
    (R204). Nothing is said of models that are not known, and of boxes without GPUs."""
    if not recipe.box.gpus:
        return
    try:
        plan = plan_recipe(recipe)
    except Unplannable:
        return
    except ValueError as error:
        help = f"`runner plan {recipe.name}` says more"
        raise Refused(Diagnostic("R204", str(error), recipe.doc.nearest(("model",)).key, help=help)) from None
    if plan.fits == "no":
        raise Refused(unfit_endpoint(plan, recipe))


def candidates(recipe: Recipe, box: Box) -> list[ServingPlan]:
    """One plan for each layout that the recipe leaves open; raises what plan_recipe raises."""
    if recipe.model is None:
        raise Unplannable(str(recipe.values.get("model", "")))
    architecture, name = recipe.model.architecture, recipe.name
    settings, replicas = settings_of(recipe), recipe.values.get("replicas")
    inside = int(recipe.values.get("data_parallel_size") or 1)
    if recipe.values.get("tensor_parallel_size") or settings.pipeline_parallel_size > 1:
        return [plan_serving(architecture, box, replace(settings, data_parallel_size=_times(replicas, inside)), name)]
    plans = layouts(architecture, box, settings, name)
    if replicas is None:
        return plans
    count = int(replicas) * inside
    ways = [plan.settings["tensor_parallel_size"] for plan in plans if plan.replicas >= count] or [1]
    each = replace(settings, data_parallel_size=count)
    return [plan_serving(architecture, box, replace(each, tensor_parallel_size=n), name) for n in ways]


def settings_of(recipe: Recipe) -> Settings:
    """The recipe's keys as the plan takes them; a checkpoint that is quantized already says so itself."""
    values: dict[str, Any] = {**recipe.values, "data_parallel_size": None}
    named = str(values.get("quantization") or "")
    values["quantization"] = named if named in METHODS and METHODS[named] != "none" else stored_as(recipe)
    return settings_from(values)


def stored_as(recipe: Recipe) -> str:
    """How the checkpoint is quantized: by the config of the folder, where it is there, else by that of the model."""
    model: Model | None = find_model(str(recipe.values.get("model", ""))) or recipe.model
    return method_of(model.config) if model is not None else "none"


def laid_out(recipe: Recipe) -> Recipe:
    """The recipe with `tensor_parallel_size` and `replicas`: what is rendered is what the plan shows. Where the model
    is not known one replica gets all GPUs, which holds the most."""
    if "layout" not in kind_schema(recipe.kind)["properties"]:
        return recipe
    values, box = recipe.values, recipe.box
    if not box.gpus:
        return _with(recipe, values.get("tensor_parallel_size") or 1, 1)
    inside = int(values.get("data_parallel_size") or 1)
    try:
        plan = chosen(recipe, _node(box))
        tensor, replicas = plan.settings["tensor_parallel_size"], max(1, plan.replicas // inside)
    except (Unplannable, ValueError):  # told where the recipe is planned
        tensor, replicas = values.get("tensor_parallel_size") or box.gpus, 1
    return _with(recipe, tensor, replicas)


def _with(recipe: Recipe, tensor: int, replicas: int) -> Recipe:
    found = {"tensor_parallel_size": tensor, "replicas": recipe.values.get("replicas") or replicas}
    return replace(recipe, values={**recipe.values, **found})


def _times(replicas: Any, inside: int) -> int | None:
    return None if replicas is None else int(replicas) * inside


def _node(box: Box, price: float | None = None) -> Box:
    """An endpoint is on one node."""
    usd = box.price_usd_per_hour if price is None else price
    return replace(box, nodes=1, price_usd_per_hour=usd / box.nodes)
