"""Whatever plan there is -> its page and its JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from runner.diagnostics import Diagnostic
from runner.diagnostics import to_json as diagnostic_to_json
from runner.plan import as_json
from runner.plan.any import AnyPlan
from runner.plan.bench import BenchPlan
from runner.plan.preparation import Preparation
from runner.plan.rag import RagPlan
from runner.plan.serving import types as serving
from runner.plan.serving.types import ServingPlan
from runner.plan.sweep import SweepPlan
from runner.plan.types import Plan
from runner.report import plan_text, serving_text, sweep_plan
from runner.report.bench_text import bench_page, bench_table
from runner.report.ink import Ink
from runner.report.plan_tables import catalogue
from runner.report.preparation_text import preparation_page, preparation_table
from runner.report.rag_text import rag_page, rag_table

# what each plan looks like on a page
_PAGES: dict[type, Callable[[Any, Ink], Iterable[str]]] = {
    Plan: plan_text.page,
    SweepPlan: sweep_plan.page,
    Preparation: preparation_page,
    ServingPlan: serving_text.page,
    BenchPlan: bench_page,
    RagPlan: rag_page,
}
# those with tables of their own below the catalogue, and their names in the JSON of all
_TABLES: dict[type, tuple[str, Callable[[Any, Ink], Iterable[str]]]] = {
    Preparation: ("preparations", preparation_table),
    ServingPlan: ("servings", serving_text.table),
    BenchPlan: ("benches", bench_table),
    RagPlan: ("rags", rag_table),
}


def page(plan: AnyPlan, ink: Ink) -> list[str]:
    return list(_PAGES[type(plan)](plan, ink))


def to_json(plan: AnyPlan, diagnostics: Iterable[Diagnostic] = ()) -> dict[str, Any]:
    """As schemas/plan.schema.json describes it: its root, `sweep`, `preparation`, `serving`, `bench` or `rag`."""
    if isinstance(plan, Plan):
        return as_json.to_json(plan, diagnostics)
    return {**_own_json(plan), "diagnostics": [diagnostic_to_json(d) for d in diagnostics]}


def _own_json(plan: SweepPlan | Preparation | ServingPlan | BenchPlan | RagPlan) -> dict[str, Any]:
    if isinstance(plan, ServingPlan):
        return serving.to_json(plan)
    return sweep_plan.to_json(plan) if isinstance(plan, SweepPlan) else plan.as_json()


def all_pages(plans: Sequence[AnyPlan], ink: Ink) -> Iterator[str]:
    """A line for each, by name; what has other figures than a training in tables of their own."""
    trained = sorted((p for p in plans if isinstance(p, (Plan, SweepPlan))), key=lambda plan: plan.recipe)
    yield from catalogue(trained, ink)
    for kind, (_, table) in _TABLES.items():
        if listed := [plan for plan in plans if type(plan) is kind]:
            yield ""
            yield from table(listed, ink)


def all_to_json(plans: Sequence[AnyPlan]) -> dict[str, Any]:
    return {
        "plans": [as_json.to_json(p) for p in plans if isinstance(p, Plan)],
        "sweeps": [sweep_plan.to_json(p) for p in plans if isinstance(p, SweepPlan)],
        **{
            name: [_own_json(p) for p in plans if not isinstance(p, (Plan, SweepPlan)) and type(p) is kind]
            for kind, (name, _) in _TABLES.items()
        },
    }
