"""Host RAM. What real runs on a CPU took stands in data/measured/cpu.csv; tests/engine/test_measured.py runs them."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from runner.facts.boxes import load_box
from runner.plan.host import CUDA, MAP_WORKER, PROCESS, host_ram
from runner.plan.memory.states import states
from runner.plan.reading import read_workload
from runner.plan.types import Store
from runner.project import Project, shipped
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import ROOT, Bench, recipes_of

GIB = 2**30
LLAMA_13B = 13_015_864_320
PROJECT = Project(ROOT)


def shipped_recipe(name: str, *sets: str, profile: str = "full") -> Recipe:
    doc = compose(PROJECT, PROJECT.recipe_file(name), profile=profile, sets=sets)
    return resolve(PROJECT, doc, profile, lambda recipe, profile: None)


def host(name: str, *sets: str, box: str | None = None) -> Store:
    recipe = shipped_recipe(name, *sets)
    found = host_ram(recipe, read_workload(recipe, load_box(box) if box else None))
    assert found.gib.value == pytest.approx(sum(found.breakdown.values()))
    assert found.gib.low < found.gib.value < found.gib.high
    return found


@pytest.mark.slow
def test_the_smoke_runs_of_every_recipe_within_a_quarter() -> None:
    """The table is of real runs on this project's two-core machine; the target is the issue's."""
    with (shipped("data") / "measured" / "cpu.csv").open(newline="") as stream:
        rows = {row["recipe"]: row for row in csv.DictReader(stream) if row["profile"] == "smoke"}
    trained = {name for engine in ("axolotl", "deepspeed_pipeline", "transformers") for name in recipes_of(engine)}
    assert set(rows) <= trained
    assert len(rows) >= 20
    off = {}
    for name, row in rows.items():
        recipe = shipped_recipe(name, profile="smoke")
        w = read_workload(recipe)
        assert w.ranks == int(row["ranks"]), name
        off[name] = host_ram(recipe, w).gib.value / float(row["host_gib"]) - 1
    assert max(abs(error) for error in off.values()) < 0.15, off


def test_offload_lies_in_ram() -> None:
    """12 bytes of AdamW's states and master weights and 4 of gradients for each parameter, over all ranks."""
    found = host("phase2/zero3-13b")
    assert found.breakdown["offloaded optimizer"] == pytest.approx(12 * LLAMA_13B / GIB, rel=0.01)
    assert found.breakdown["offloaded gradients"] == pytest.approx(4 * LLAMA_13B / GIB, rel=0.01)
    assert found.capacity_gib == 442
    assert 190 < found.gib.value < 260, "the recipe's own comment says 160 GB for the states alone"
    kept = host("phase2/zero3-13b", "deepspeed=zero3")
    assert "offloaded optimizer" not in kept.breakdown
    weights_too = host("phase2/zero3-13b", "deepspeed=zero3_offload_all")
    assert weights_too.gib.value > found.gib.value


def test_whole_weights_are_gathered_to_be_saved() -> None:
    found = host("phase2/zero3-13b", "deepspeed=zero3")
    assert found.breakdown["gathered for saving"] == pytest.approx(2 * LLAMA_13B / GIB, rel=0.01)


def test_merging_goes_file_by_file() -> None:
    found = host("phase4/sft-13b")
    assert set(found.breakdown) == {"processes", "base", "merged"}
    assert found.breakdown["base"] == pytest.approx(10e9 / GIB)
    # what an earlier run left is one file
    assert host("phase4/dpo-13b").breakdown["base"] == pytest.approx(2 * LLAMA_13B / GIB, rel=0.01)
    assert "merged" not in host("phase4/sft-13b", "merge=false").breakdown


def test_processes_and_workers() -> None:
    found = host("phase4/lora-13b", "merge=false")
    assert found.breakdown["processes"] == pytest.approx(2 * (PROCESS + CUDA))
    assert found.breakdown["workers"] == pytest.approx(52 * MAP_WORKER)
    few = host("phase4/lora-13b", "merge=false", "dataset_num_proc=1", "dataloader_num_workers=0")
    assert "workers" not in few.breakdown
    assert few.gib.value < found.gib.value
    eight = host("phase4/lora-13b", "merge=false", "dataset_num_proc=1", box="8xh100")
    assert eight.breakdown["processes"] == pytest.approx(8 * (PROCESS + CUDA))


def test_fsdp_makes_the_model_in_ram_first() -> None:
    sharded = ("deepspeed=null", "fsdp_version=2", "merge=false", "dataset_num_proc=1", "sdpa_varlen=false")
    everyone = host("phase4/lora-13b", *sharded, "fsdp_config={reshard_after_forward: true}")
    assert everyone.breakdown["weights"] == pytest.approx(2 * 2 * LLAMA_13B / GIB, rel=0.05)
    config = "fsdp_config={reshard_after_forward: true, cpu_ram_efficient_loading: true}"
    assert host("phase4/lora-13b", *sharded, config).gib.value < everyone.gib.value


def test_on_a_cpu_everything_lies_in_ram(bench: Bench) -> None:
    """136 million parameters from scratch took 3.29 GiB: 0.82 of the process, 16 bytes a parameter, activations."""
    sizes = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16}
    sets = [f"architecture.{key}={value}" for key, value in sizes.items()]
    recipe = replace(shipped_recipe("phase1/gpt-1b", *sets, profile="smoke"), tiny=None)
    w = read_workload(recipe)
    found = host_ram(recipe, w)
    assert w.architecture.parameters == 136_340_480
    assert found.gib.value == pytest.approx(3.286, rel=0.1)
    assert found.breakdown["optimizer"] == pytest.approx(states(w).optimizer / GIB)
    two = replace(shipped_recipe("phase2/pretrain-7b", *sets, profile="smoke"), tiny=None)
    found = host_ram(two, read_workload(two))
    assert found.gib.value == pytest.approx(7.926, rel=0.2), "measured, two ranks"


def test_several_nodes_have_ram_each() -> None:
    assert host("phase4/lora-13b", box="4x8xh100").capacity_gib == 4 * load_box("4x8xh100").ram_gib
