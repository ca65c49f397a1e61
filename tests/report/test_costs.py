"""data/costs.json says what `runner plan` says, of every recipe of the plan as it stands."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from runner.curriculum import curriculum
from runner.project import Project
from runner.report.costs import digest, facts_digest, plan_cost
from tests.conftest import ROOT

KEPT = json.loads((ROOT / "data/costs.json").read_text())
PROJECT = Project(ROOT)
# one of each kind of plan; all of them take as long as `runner plan --all`
SAMPLE = ["phase1/gpt-1b", "phase1/data-pile", "phase2/lr-batch", "phase3/bench-30b", "phase3/quantize-awq-13b",
          "phase4/dpo-13b", "phase4/eval-dpo-13b", "phase5/moe-mixtral-lora", "serve/llama-2-13b"]  # fmt: skip


def test_costs_are_of_the_recipes_as_they_stand() -> None:
    named = {name for week in curriculum().weeks for name in (*week.recipes, *week.beyond)}
    stale = [name for name in named if KEPT["recipes"].get(name, {}).get("digest") != digest(PROJECT, name)]
    assert (stale, set(KEPT["recipes"]) - named) == ([], set()), "`make readme` writes data/costs.json"
    assert KEPT["facts"] == facts_digest(), "`make readme` writes data/costs.json"


@pytest.mark.parametrize("name", SAMPLE)
def test_costs_are_what_the_plan_says(name: str) -> None:
    told = {key: value for key, value in KEPT["recipes"][name].items() if key != "digest"}
    assert told == asdict(plan_cost(PROJECT, name)), "`make readme` writes data/costs.json"
