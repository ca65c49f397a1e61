"""What ran short in a run -> what the plan says fills it, and the smallest change that takes less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runner.facts.boxes import Box
from runner.plan.fit import best_single_knob, search
from runner.plan.fits import CONTEXT_GIB
from runner.plan.lenient import SENSELESS, open_any
from runner.plan.make import make_plan
from runner.plan.reading import Unplannable
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import Run, latest

# Where the plan said that a run fits, and it did not, the plan was wrong by an unknown part: a change is worth trying
# that takes a tenth less than what was planned.
LESS = 0.9


@dataclass(frozen=True, slots=True)
class Short:
    """`what` is `gpu`, `host` or `disk`. `needs` and `has` in GiB, of one GPU or of the whole box; `parts` add up to
    `needs`. `foreseen` is whether the plan knew that it does not fit. `change` are keys of the recipe with which it
    takes `then` GiB; None where no change is known that helps."""

    what: str
    box: str
    needs: float
    has: float
    parts: dict[str, float]
    foreseen: bool
    change: dict[str, Any] | None = None
    then: float | None = None


def short_of(project: Project, run: Run, what: str) -> Short | None:
    """None where the run's recipe is gone, or is of a kind for whose memory there is no plan."""
    recipe = _recipe_of(project, run)
    if recipe is None or recipe.children:
        return None
    try:
        plan = make_plan(recipe)
        found = _short(plan, what)
        if what == "disk" or not plan.trained_parameters or not found.needs:
            return found
        return _with_change(recipe, plan, found)
    except (Unplannable, Refused, *SENSELESS):
        return None


def _recipe_of(project: Project, run: Run) -> Recipe | None:
    """The recipe as it was run: with the values that the record has, whatever its file says by now."""
    name, profile = str(run.record.get("recipe")), str(run.record.get("profile"))
    file = project.recipe_file(name)
    if not file.is_file():
        return None
    try:
        recipe, _ = open_any(Library(project, profile), file, lambda r, p: latest(project, r, p))
    except Refused:
        return None
    values = run.record.get("values")
    return replace(recipe, values=values) if isinstance(values, dict) else recipe


def _short(plan: Plan, what: str) -> Short:
    if what == "gpu":
        needs, has, parts = plan.memory.peak.value, plan.memory.capacity_gib, plan.memory.breakdown
        over = needs + CONTEXT_GIB > has
    else:
        store = plan.host if what == "host" else plan.disk
        needs, has, parts = store.gib.value, store.capacity_gib, store.breakdown
        over = store.gib.low > has > 0
    return Short(what, plan.box, needs, has, {k: v for k, v in parts.items() if v > 0}, foreseen=over)


def _with_change(recipe: Recipe, plan: Plan, found: Short) -> Short:
    box = recipe.box if found.foreseen else _smaller(recipe.box, plan, found.what)
    choice = best_single_knob(recipe, box) or search(recipe, box).best
    if choice is None or not choice.settings:
        return found
    return replace(found, change=choice.settings, then=_short(choice.plan, found.what).needs)


def _smaller(box: Box, plan: Plan, what: str) -> Box:
    """A box on which the plan as it is would not fit, by a tenth of what it takes."""
    if what == "gpu":
        return replace(box, gpu_memory_gib=plan.memory.peak.value * LESS + CONTEXT_GIB)
    # what a box file leaves out decides no plan: this does
    return replace(box, ram_gib=plan.host.gib.low * LESS / box.nodes, assumed=box.assumed - {"ram_gib"})
