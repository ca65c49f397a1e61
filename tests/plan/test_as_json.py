"""What `--json` prints: its names are the schema's, every one described, and nothing else."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.diagnostics import Diagnostic, Span
from runner.plan.any import plan_any
from runner.plan.as_json import estimates, search_to_json, to_json
from runner.plan.bench import BenchPlan
from runner.plan.fit import Choice, Search
from runner.plan.lenient import open_any
from runner.plan.rag import RagPlan
from runner.plan.serving.types import ServingPlan
from runner.plan.sweep import SweepPlan
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.kinds import serves
from runner.report.any_plan import to_json as any_to_json
from tests.conftest import ROOT
from tests.plan.sample import FITTING, ON_CPU, TOO_LARGE
from tests.plan.schema import SCHEMA, faults

UNPLANNED = re.compile(r"^kind: (tokenizer|eval|compare)$", re.M)
RECIPES = [file for file in Project(ROOT).all_recipes() if not UNPLANNED.search(file.read_text())]
PLACE = Diagnostic("R101", "wrong", Span("recipes/r.yaml", 3, 1, 7), label="here", notes=("why",), help="mend")


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every schema of an object below this one."""
    if isinstance(schema, list):
        return [found for below in schema for found in objects(below)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if schema.get("type") == "object" else []
    return here + [found for below in schema.values() for found in objects(below)]


def at(data: dict[str, Any], dotted: str) -> Any:
    for part in dotted.split("."):
        data = data[part]
    return data


@pytest.mark.parametrize("profile", ["full", "smoke"])
@pytest.mark.parametrize("file", RECIPES, ids=lambda f: f.stem)
def test_every_shipped_recipes_plan_is_as_the_schema_says(file: Any, profile: str) -> None:
    recipe, found = open_any(Library(Project(ROOT), profile), file, lambda name, profile: None)
    assert [d for d in found if d.is_error] == []
    if serves(recipe.kind) and not recipe.box.gpus:
        return  # what a server does on a processor is not planned
    plan = plan_any(Project(ROOT), recipe, lambda name, profile: None)
    if not isinstance(plan, Plan):
        part = {SweepPlan: "sweep", ServingPlan: "serving", BenchPlan: "bench", RagPlan: "rag"}.get(
            type(plan), "preparation"
        )
        assert faults(any_to_json(plan, found), part) == []
        return
    data = to_json(plan, found)
    assert faults(data) == []
    assert sum(plan.memory.breakdown.values()) == pytest.approx(plan.memory.peak.value)
    assert sum(plan.components.values()) == plan.parameters
    for name, (low, high) in data["interval"].items():
        assert low <= at(data, name) <= high, name


@pytest.mark.parametrize("plan", [FITTING, TOO_LARGE, ON_CPU])
def test_plans_made_by_hand_are_too(plan: Any) -> None:
    assert faults(to_json(plan, [PLACE])) == []


def test_names_and_figures_are_those_of_the_plan() -> None:
    data = to_json(FITTING, [PLACE])
    assert data["memory"]["peak_gib"] == 60.0
    assert data["memory"]["breakdown"]["weights"] == 24.25
    assert data["host"] == {
        "ram_gib": 55.0,
        "breakdown": {"gathered_for_saving": 48.5, "processes": 6.5},
        "capacity_gib": 442.0,
    }
    assert data["speed"]["mfu"] == 0.31
    assert data["time"] == {
        "steps": 2430,
        "tokens": 318_504_960,
        "samples": 51_760,
        "hours": 13.8,
        "why": "data/smoke has 51,760 samples",
    }
    assert data["batch"] == {"global": 64, "step_tokens": 131_072}
    assert data["interval"]["memory.peak_gib"] == [58.5, 61.5]
    assert data["diagnostics"][0]["code"] == "R101"


def test_what_is_not_known_is_null_and_has_no_interval() -> None:
    data = to_json(ON_CPU)
    assert data["speed"] == {"tokens_per_s_per_gpu": None, "step_s": None, "mfu": None, "hfu": None, "breakdown": {}}
    assert (data["time"]["steps"], data["time"]["hours"], data["cost"]["usd"]) == (None, None, None)
    assert sorted(data["interval"]) == ["disk.gib", "host.ram_gib", "memory.peak_gib", "memory.reserved_gib"]


def test_every_estimate_has_an_interval_under_its_own_name() -> None:
    data = to_json(FITTING)
    assert sorted(data["interval"]) == sorted(SCHEMA["properties"]["interval"]["properties"])
    for name, estimate in estimates(FITTING).items():
        assert at(data, name) == pytest.approx(estimate.value, rel=1e-6)


def test_the_schema_is_closed_and_every_name_is_described() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert all("additionalProperties" in each for each in objects(SCHEMA))
    named = [(key, below) for each in objects(SCHEMA) for key, below in each.get("properties", {}).items()]
    assert [key for key, below in named if not below.get("description")] == []
    assert len(named) > 60


def paths(data: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(data, dict):
        return []
    here = [] if before == ("model", "components") else [(*before, key) for key in data]
    return here + [path for key, below in data.items() for path in paths(below, (*before, key))]


@pytest.mark.parametrize("path", paths(to_json(FITTING)), ids=".".join)
def test_a_renamed_key_fails(path: tuple[str, ...]) -> None:
    data = copy.deepcopy(to_json(FITTING))
    holder = at(data, ".".join(path[:-1])) if path[:-1] else data
    holder[path[-1] + "_x"] = holder.pop(path[-1])
    assert faults(data) != []


def test_a_search_is_as_the_schema_says() -> None:
    choice = Choice({"micro_batch_size": 1, "gradient_checkpointing_kwargs": None}, FITTING, ("shorter samples",))
    data = search_to_json(Search(choice, (choice, Choice({}, replace(FITTING, fits="tight"))), 12))
    assert faults(data, "search") == []
    assert data["best"]["settings"] == {"micro_batch_size": 1, "gradient_checkpointing_kwargs": None}
    assert data["frontier"][1]["plan"]["fits"] == "tight"
    assert faults(search_to_json(Search(None, (), 12)), "search") == []
    rest: dict[str, Any] = {"sweeps": [], "preparations": [], "servings": [], "benches": [], "rags": []}
    assert faults({"plans": [to_json(FITTING)], **rest}, "catalogue") == []
    assert faults({"plans": [{**to_json(FITTING), "fits": "maybe"}], **rest}, "catalogue") != []
