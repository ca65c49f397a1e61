"""Recipe x box -> the recipe on that box, and how many of its nodes the recipe's engine can use."""

from __future__ import annotations

from dataclasses import replace

from runner.engines import load_engine
from runner.facts.boxes import Box
from runner.facts.gpus import find_gpu
from runner.recipe.resolve import Recipe


def on_box(recipe: Recipe, box: Box) -> Recipe:
    """The recipe on another machine than its own. What needs no GPU, as in smoke, asks for none: of a box that has some
    it takes processors, and without being meant for several nodes one of them."""
    needs = recipe.box.gpus > 0 and getattr(load_engine(recipe.engine), "NEEDS_GPUS", True)
    if box.gpus and (recipe.profile == "smoke" or not needs):
        box = without_gpus(box) if recipe.profile == "smoke" else one_node(without_gpus(box))
    return replace(recipe, box=box if ranks_of(recipe, box) % box.nodes == 0 else one_node(box))


def without_gpus(box: Box) -> Box:
    none = {"gpus": 0, "gpu": "none", "gpu_memory_gib": 0.0, "compute_capability": "none", "facts": find_gpu("cpu")}
    return replace(box, **none)  # type: ignore[arg-type]


def one_node(box: Box) -> Box:
    return replace(box, nodes=1, network_gb_s=0.0, price_usd_per_hour=box.price_usd_per_hour / box.nodes)


def ranks_of(recipe: Recipe, box: Box | None = None) -> int:
    """Processes that train, of all nodes; 1 for an engine that has no ranks, which then uses one node only."""
    ranks = getattr(load_engine(recipe.engine), "ranks", None)
    return int(ranks(recipe, box or recipe.box)) if ranks is not None else 1


def nodes_of(recipe: Recipe) -> int:
    """Nodes that the rendered launcher is started on."""
    return recipe.box.nodes if ranks_of(recipe) % recipe.box.nodes == 0 else 1
