"""Whatever plan there is -> its page and its JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from runner.diagnostics import Diagnostic
from runner.diagnostics import to_json as diagnostic_to_json
from runner.plan import as_json
from runner.plan.any import AnyPlan
from runner.plan.bench import BenchPlan
from runner.plan.preparation import Preparation
from runner.plan.serving import types as serving
from runner.plan.serving.types import ServingPlan
from runner.plan.sweep import SweepPlan
from runner.plan.types import Plan
from runner.report import plan_text, serving_text, sweep_plan
from runner.report.bench_text import bench_page, bench_table
from runner.report.ink import Ink
from runner.report.plan_tables import catalogue
from runner.report.preparation_text import preparation_page, preparation_table


def page(plan: AnyPlan, ink: Ink) -> list[str]:
    if isinstance(plan, SweepPlan):
        return list(sweep_plan.page(plan, ink))
    if isinstance(plan, Preparation):
        return list(preparation_page(plan, ink))
    if isinstance(plan, ServingPlan):
        return serving_text.page(plan, ink)
    if isinstance(plan, BenchPlan):
        return list(bench_page(plan, ink))
    return list(plan_text.page(plan, ink))


def to_json(plan: AnyPlan, diagnostics: Iterable[Diagnostic] = ()) -> dict[str, Any]:
    """As schemas/plan.schema.json describes it: its root, `sweep`, `preparation`, `serving` or `bench`."""
    if isinstance(plan, Plan):
        return as_json.to_json(plan, diagnostics)
    if isinstance(plan, ServingPlan):
        found = serving.to_json(plan)
    else:
        found = sweep_plan.to_json(plan) if isinstance(plan, SweepPlan) else plan.as_json()
    return {**found, "diagnostics": [diagnostic_to_json(d) for d in diagnostics]}


def all_pages(plans: Sequence[AnyPlan], ink: Ink) -> Iterator[str]:
    """A line for each, by name; preparations and endpoints, which have other figures, in tables of their own."""
    preparations = [plan for plan in plans if isinstance(plan, Preparation)]
    served = [plan for plan in plans if isinstance(plan, ServingPlan)]
    trained = sorted((p for p in plans if isinstance(p, (Plan, SweepPlan))), key=lambda plan: plan.recipe)
    yield from catalogue(trained, ink)
    if preparations:
        yield ""
        yield from preparation_table(preparations, ink)
    if served:
        yield ""
        yield from serving_text.table(served, ink)
    if benchmarks := [plan for plan in plans if isinstance(plan, BenchPlan)]:
        yield ""
        yield from bench_table(benchmarks, ink)


def all_to_json(plans: Sequence[AnyPlan]) -> dict[str, Any]:
    return {
        "plans": [as_json.to_json(p) for p in plans if isinstance(p, Plan)],
        "sweeps": [sweep_plan.to_json(p) for p in plans if isinstance(p, SweepPlan)],
        "preparations": [p.as_json() for p in plans if isinstance(p, Preparation)],
        "servings": [serving.to_json(p) for p in plans if isinstance(p, ServingPlan)],
        "benches": [p.as_json() for p in plans if isinstance(p, BenchPlan)],
    }
