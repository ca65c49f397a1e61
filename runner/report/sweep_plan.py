"""SweepPlan -> what `runner plan` prints of a sweep, and its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.plan.as_json import short, value
from runner.plan.as_json import to_json as plan_to_json
from runner.plan.sweep import SweepPlan
from runner.plan.types import Estimate
from runner.report.ink import Ink, brief_duration, money
from runner.report.plan_tables import catalogue


def page(plan: SweepPlan, ink: Ink) -> Iterator[str]:
    length = f", {brief_duration(plan.hours.value)}" if plan.hours else ""
    price = f", {money(plan.usd.value)}" if plan.usd else ""
    yield f"fits: {ink.paint(plan.fits, plan.fits)}, {len(plan.children)} children{length}{price}"
    box = f"{plan.box} ({plan.gpus} GPUs)" if plan.gpus else plan.box
    yield f"{plan.recipe} ({plan.kind}, {plan.profile}): {plan.slots} at a time on {box}"
    yield ""
    yield from catalogue((each.plan for each in plan.children), ink)
    yield ""
    yield f"{'tokens':<33} {plan.tokens:,}"
    if plan.hours is None:
        why = next((each.plan.length.why for each in plan.children if each.plan.length.why), "")
        yield f"{'time':<33} not known{why and ': '}{why}"
    else:
        yield f"{'time':<33} {_span(plan.hours, brief_duration)} with {plan.slots} at a time"
    if plan.usd is not None:
        yield f"{'cost':<33} {_span(plan.usd, money)}"
    if plan.kwh is not None:
        yield f"{'energy':<33} {_span(plan.kwh, '{:.1f} kWh'.format)}"
    yield f"{'disk':<33} {plan.disk_gib:,.1f} GiB"


def _span(estimate: Estimate, shown: Any) -> str:
    return f"{shown(estimate.value)} ({shown(estimate.low)} to {shown(estimate.high)})"


def to_json(plan: SweepPlan) -> dict[str, Any]:
    named = {"time.hours": plan.hours, "cost.usd": plan.usd, "cost.kwh": plan.kwh}
    return {
        "recipe": plan.recipe,
        "kind": plan.kind,
        "profile": plan.profile,
        "box": plan.box,
        "gpus": plan.gpus,
        "fits": plan.fits,
        "parallel": plan.slots,
        "time": {"tokens": plan.tokens, "hours": value(plan.hours)},
        "cost": {"usd": value(plan.usd), "kwh": value(plan.kwh)},
        "disk": {"gib": short(plan.disk_gib)},
        "interval": {k: [short(e.low), short(e.high)] for k, e in named.items() if e is not None},
        "children": [
            {"child": each.child.name, "axes": each.child.axes, **plan_to_json(each.plan)} for each in plan.children
        ],
    }
