"""A sweep's children -> how long all of them take in the box's slots, what they cost, and whether each fits."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.diagnostics import Diagnostic
from runner.engines.make import slots
from runner.plan.make import make_plan
from runner.plan.types import Estimate, Fits, Plan
from runner.plan.verdict import unfit
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.resolve import Recipe, resolve
from runner.recipe.sweep import Child


@dataclass(frozen=True, slots=True)
class PlannedChild:
    child: Child
    recipe: Recipe
    plan: Plan


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """`hours` is from the first child's start to the last one's end, with `slots` at a time; `usd` is the whole box's
    for so long. Both are None where a child's length is not known. `disk_gib` counts the engine's environment once."""

    recipe: str
    kind: str
    profile: str
    box: str
    gpus: int
    slots: int
    children: tuple[PlannedChild, ...]
    hours: Estimate | None
    usd: Estimate | None
    kwh: Estimate | None
    disk_gib: float
    fits: Fits

    @property
    def tokens(self) -> int:
        return sum(each.plan.length.tokens or 0 for each in self.children)


def make_sweep_plan(
    project: Project, recipe: Recipe, locate: Callable[[str, str], Path | None], *, price: float | None = None
) -> SweepPlan:
    """Raises what `make_plan` raises, for the first child that can't be planned."""
    library = Library(project, recipe.profile)
    planned = []
    for child in recipe.children:
        resolved = resolve(project, child.doc, recipe.profile, locate, library=library)
        planned.append(PlannedChild(child, resolved, make_plan(resolved)))
    plans = [each.plan for each in planned]
    at_once = slots(recipe)
    spans = [plan.cost.hours for plan in plans]
    hours = None if None in spans else makespan([s for s in spans if s is not None], at_once)
    hourly = recipe.box.price_usd_per_hour if price is None else price
    energy = [plan.cost.kwh for plan in plans]
    kwh = [e for e in energy if e is not None]
    shared = max((plan.disk.breakdown.get("environment", 0.0) for plan in plans), default=0.0)
    return SweepPlan(
        recipe=recipe.name,
        kind=recipe.kind,
        profile=recipe.profile,
        box=recipe.box.name,
        gpus=recipe.box.total_gpus,
        slots=at_once,
        children=tuple(planned),
        hours=hours,
        usd=hours.times(hourly) if hours is not None and hourly else None,
        kwh=_sum(kwh) if len(kwh) == len(plans) else None,
        disk_gib=shared + sum(p.disk.gib.value - p.disk.breakdown.get("environment", 0.0) for p in plans),
        fits=_worst([plan.fits for plan in plans]),
    )


def unfit_children(plan: SweepPlan) -> list[Diagnostic]:
    """R201 of each child that can't fit its box."""
    return [unfit(each.plan, each.recipe) for each in plan.children if each.plan.fits == "no"]


def makespan(spans: Sequence[Estimate], at_once: int) -> Estimate:
    """Hours until all are done when each starts, in order, as soon as a slot is free: as make's jobs do."""

    def scheduled(hours: Sequence[float]) -> float:
        free = [0.0] * at_once
        for each in hours:
            heapq.heapreplace(free, free[0] + each)
        return max(free)

    return Estimate(*(scheduled([getattr(s, which) for s in spans]) for which in ("value", "low", "high")))


def _sum(found: Sequence[Estimate]) -> Estimate:
    return Estimate(sum(e.value for e in found), sum(e.low for e in found), sum(e.high for e in found))


def _worst(found: Sequence[Fits]) -> Fits:
    return "no" if "no" in found else "tight" if "tight" in found else "yes"
