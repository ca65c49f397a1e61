"""The plan of a benchmark: the serving plan's figures cell by cell, and why some are missing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engines.vllm_bench import cells_of
from runner.facts.boxes import load_box
from runner.facts.models import catalogue
from runner.plan.bench import BenchPlan, plan_bench, predicted_cells
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import Settings
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from runner.report.bench_text import bench_page, bench_table
from runner.report.ink import Ink
from tests.plan.schema import faults

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT)


def recipe_of(profile: str = "full", *sets: str) -> Recipe:
    doc = compose(PROJECT, ROOT / "recipes/phase3/bench-13b.yaml", profile=profile, sets=sets)
    return resolve(PROJECT, doc, profile, lambda recipe, profile: None)


@pytest.fixture(scope="module")
def plan() -> BenchPlan:
    return plan_bench(PROJECT, recipe_of())


def test_a_cell_has_the_figures_of_the_serving_plan(plan: BenchPlan) -> None:
    settings = Settings(
        tensor_parallel_size=2,
        data_parallel_size=1,
        max_model_len=4096,
        max_num_seqs=128,
        input_len=1024,
        output_len=1024,
    )
    served = plan_serving(catalogue()["llama-2-13b"].architecture, load_box("2xh100"), settings)
    point = next(p for p in served.points if p.concurrency == 8)
    cell = next(c for c in plan.cells if (c.endpoint, c.cell) == ("vllm-tp2", "in1024-out1024-c8"))
    assert point.first_token_ms is not None
    assert point.per_token_ms is not None
    assert point.tokens_per_s is not None
    assert (cell.ttft_ms, cell.tpot_ms) == (point.first_token_ms.value, point.per_token_ms.value)
    assert cell.output_tokens_per_s == point.tokens_per_s.value
    assert cell.seconds == pytest.approx(cell.num_prompts * 1024 / point.tokens_per_s.value)


def test_every_cell_of_the_run_is_planned(plan: BenchPlan) -> None:
    recipe = recipe_of()
    for entry in recipe.values["endpoints"]:
        planned = [c.cell for c in plan.cells if c.endpoint == entry["name"]]
        assert planned == [cell["id"] for cell in cells_of(recipe.values, entry["engine"])]
    assert predicted_cells(plan).keys() == {f"{c.endpoint}/{c.cell}" for c in plan.cells}


def test_what_is_not_foreseen_says_why(plan: BenchPlan) -> None:
    for cell in plan.cells:
        assert (cell.ttft_ms is None) == bool(cell.why), cell
    whys = {c.endpoint: c.why for c in plan.cells if c.endpoint == "transformers"}
    assert whys == {"transformers": "the plan knows serving engines, not `transformers`"}
    smoke = plan_bench(PROJECT, recipe_of("smoke"))
    assert {c.why for c in smoke.cells} == {"`cpu` has no GPU: what a processor does is not planned"}
    assert smoke.hours is None


def test_a_concurrency_that_is_no_power_of_two_is_foreseen_too() -> None:
    found = plan_bench(PROJECT, recipe_of("full", "concurrency=[3, 12]"))
    rates = [c.output_tokens_per_s for c in found.cells if c.endpoint == "vllm-tp2" and "at a time" in c.load]
    assert all(rate is not None for rate in rates)


def test_fp8_is_planned_as_such(plan: BenchPlan) -> None:
    def at(endpoint: str) -> float:
        cell = next(c for c in plan.cells if (c.endpoint, c.cell) == (endpoint, "in1024-out1024-c1"))
        assert cell.tpot_ms is not None
        return cell.tpot_ms

    assert at("vllm-fp8") < 0.7 * at("vllm-replicas")


def test_its_json_is_as_the_schema_says(plan: BenchPlan) -> None:
    smoke = plan_bench(PROJECT, recipe_of("smoke"))
    assert faults(plan.as_json(), "bench") == faults(smoke.as_json(), "bench") == []


def test_its_page_names_every_endpoint(plan: BenchPlan) -> None:
    text = "\n".join([*bench_page(plan, Ink()), *bench_table([plan], Ink())])
    for name in ("vllm-replicas", "vllm-tp2", "vllm-fp8", "transformers", "phase3/bench-13b"):
        assert name in text


VALUES = st.fixed_dictionaries(
    {
        "shapes": st.lists(st.lists(st.integers(1, 9999), min_size=2, max_size=2), min_size=1, max_size=3),
        "concurrency": st.lists(st.integers(1, 512), max_size=4, unique=True),
        "request_rates": st.lists(st.floats(0.1, 100).map(lambda x: round(x, 2)), max_size=3, unique=True),
        "num_prompts": st.integers(1, 100),
        "rounds": st.integers(1, 9),
        "warmup": st.integers(0, 9),
        "seed": st.integers(0, 5),
    }
)


@given(VALUES, st.booleans())
def test_cells_are_told_apart_and_have_rows_of_their_own(values: dict[str, Any], sweep: bool) -> None:
    given_values = {**values, **({"sweep": "saturation", "most_rate": 16} if sweep else {})}
    given_values["shapes"] = [list(shape) for shape in dict.fromkeys(map(tuple, values["shapes"]))]
    cells = cells_of(given_values)
    loads = len(values["concurrency"]) + len(values["request_rates"]) + sweep
    assert len({cell["id"] for cell in cells}) == len(cells) == loads * len(given_values["shapes"])
    for cell, following in pairwise(cells):
        assert following["first_row"] >= cell["first_row"] + cell["num_prompts"] + values["warmup"]
        assert cell["num_prompts"] >= values["rounds"] * cell.get("concurrency", 0)
