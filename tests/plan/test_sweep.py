"""A sweep's plan: its children's plans, scheduled as make schedules them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.plan.sweep import SweepPlan, make_sweep_plan, makespan
from runner.plan.types import Estimate
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.resolve import resolve
from runner.report.ink import Ink
from runner.report.sweep_plan import page, to_json
from tests.conftest import Bench
from tests.plan.schema import faults
from tests.recipe.test_sweep import BASE, ISOFLOP, SWEEP


def planned(bench: Bench, text: str, base: str = BASE) -> SweepPlan:
    bench.write("base", base)
    doc = compose(bench.project, bench.write("s", SWEEP + text))
    recipe = resolve(bench.project, doc, "full", lambda r, p: None, library=Library(bench.project))
    return make_sweep_plan(bench.project, recipe, lambda r, p: None)


def one(value: float) -> Estimate:
    return Estimate(value, value / 2, value * 2)


@pytest.mark.parametrize(
    ("hours", "at_once", "ends"), [([3, 1, 1, 1], 2, 3), ([1, 1, 1], 1, 3), ([1, 1, 3], 2, 4), ([5], 4, 5)]
)
def test_makespan_is_that_of_list_scheduling(hours: list[float], at_once: int, ends: float) -> None:
    found = makespan([one(h) for h in hours], at_once)
    assert (found.value, found.low, found.high) == (ends, ends / 2, ends * 2)


def test_two_single_gpu_children_run_at_once_on_the_pair(bench: Bench) -> None:
    plan = planned(bench, ISOFLOP)
    assert (plan.box, plan.gpus, plan.slots) == ("2xh100", 2, 2)
    alone = [each.plan.cost.hours.value for each in plan.children if each.plan.cost.hours]
    assert len(alone) == 4
    assert plan.hours is not None
    assert max(alone) <= plan.hours.value < sum(alone)
    assert plan.usd is not None
    assert plan.usd.value == pytest.approx(plan.hours.value * 8.38)  # the box's price, not a child's
    assert planned(bench, ISOFLOP + "parallel: 1\n").hours.value == pytest.approx(sum(alone))  # type: ignore[union-attr]


def test_children_that_take_the_whole_box_run_one_by_one(bench: Bench) -> None:
    assert planned(bench, ISOFLOP + "set: {box: 2xh100}\n").slots == 1


def test_tokens_are_what_the_budgets_buy(bench: Bench) -> None:
    plan = planned(bench, ISOFLOP)
    wanted = sum(each.child.axes["budget"] / 6 / (each.child.parameters or 1) for each in plan.children)
    assert plan.tokens == pytest.approx(wanted, rel=0.01)


def test_one_child_that_does_not_fit_is_the_verdict(bench: Bench) -> None:
    plan = planned(bench, "points: [{name: small}, {name: large, micro_batch_size: 4096}]\n")
    assert [each.plan.fits for each in plan.children] == ["yes", "no"]
    assert plan.fits == "no"


def test_the_page_and_the_json(bench: Bench, tmp_path: Path) -> None:
    plan = planned(bench, ISOFLOP)
    lines = list(page(plan, Ink()))
    assert lines[0].startswith("fits: yes, 4 children, ")
    assert lines[1] == "s (sweep, full): 2 at a time on 2xh100 (2 GPUs)"
    assert sum(line.startswith("s/c") for line in lines) == 4
    data = json.loads(json.dumps(to_json(plan)))
    assert faults(data, "sweep") == []
    assert data["parallel"] == 2
    assert len(data["children"]) == 4
    low, high = data["interval"]["time.hours"]
    assert low < data["time"]["hours"] < high
