"""How to lay a model over the GPUs of a box: replicas for throughput, or tensor parallel for latency."""

from __future__ import annotations

from dataclasses import replace

from runner.facts.architecture import Architecture
from runner.facts.boxes import Box
from runner.plan.serving.constants import Constants
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import Settings
from runner.plan.serving.types import ServingPlan

NEARLY = 0.9  # closer than the model can tell


def layouts(
    architecture: Architecture, box: Box, settings: Settings, model: str = "", constants: Constants | None = None
) -> list[ServingPlan]:
    """One plan for every tensor parallel size that the model's heads and a node's GPUs allow, smallest first, each
    with as many replicas as the box holds. Raises what plan_serving raises where none is allowed."""
    found, refused = [], None
    for ways in range(1, max(1, box.gpus) + 1):
        if box.gpus and box.gpus % ways:
            continue
        try:
            changed = replace(settings, tensor_parallel_size=ways, data_parallel_size=None)
            found.append(plan_serving(architecture, box, changed, model, constants))
        except ValueError as error:
            refused = refused or error
    if not found and refused is not None:
        raise refused
    return found


def for_throughput(plans: list[ServingPlan]) -> ServingPlan:
    """The layout that carries most tokens per second among those that fit; more replicas where they carry nearly as
    much, since one can fail. The widest where none fits."""
    fitting = [plan for plan in plans if plan.fits == "yes" and plan.peak is not None]
    fitting = fitting or [plan for plan in plans if plan.fits != "no" and plan.peak is not None]
    if not fitting:
        return plans[-1]
    enough = NEARLY * max(map(_peak, fitting))
    return next(plan for plan in fitting if _peak(plan) >= enough)


def for_latency(plans: list[ServingPlan]) -> ServingPlan:
    """The layout with the shortest time per output token for a single request among those that fit."""
    fitting = [plan for plan in plans if plan.fits != "no" and plan.points and plan.points[0].per_token_ms is not None]
    return min(fitting, key=lambda plan: plan.points[0].per_token_ms.value) if fitting else plans[-1]  # type: ignore[union-attr]


def _peak(plan: ServingPlan) -> float:
    peak = plan.peak
    return peak.tokens_per_s.value if peak is not None and peak.tokens_per_s is not None else 0.0
