"""Disk: how often a run saves, what a checkpoint weighs, what is downloaded and prepared."""

from __future__ import annotations

import pytest

from runner.plan.disk import checkpoint_bytes, disk, save_count
from runner.plan.reading import read_workload
from runner.plan.steps import length_of
from runner.plan.types import Length, Store
from runner.recipe.resolve import Recipe
from tests.plan.test_host import GIB, LLAMA_13B, shipped_recipe


def stored(recipe: Recipe) -> Store:
    w = read_workload(recipe)
    found = disk(recipe, w, length_of(recipe, w))
    assert found.gib.value == pytest.approx(sum(found.breakdown.values()))
    return found


@pytest.mark.parametrize(
    ("values", "steps", "saves"),
    [
        ({}, 100, 1),  # Axolotl saves every epoch unless told otherwise
        ({"num_epochs": 3}, 100, 3),
        ({"num_epochs": 2.5}, 100, 3),
        ({"save_strategy": "no"}, 100, 0),
        ({"save_steps": 20}, 100, 5),
        ({"save_steps": 30}, 100, 4),  # and the last
        ({"save_steps": 0.25}, 100, 4),
        ({"save_steps": 500}, 100, 1),
        ({"saves_per_epoch": 4, "num_epochs": 2}, 100, 8),
        ({"saves_per_epoch": 1, "num_epochs": 1}, 100, 1),  # a share of 1 is none: Axolotl saves each epoch
        ({"save_steps": 20}, None, None),
        ({"num_epochs": 3}, None, 3),
    ],
)
def test_how_often_a_run_saves(values: dict[str, object], steps: int | None, saves: int | None) -> None:
    assert save_count(values, Length(steps, None, None)) == saves


@pytest.mark.parametrize(
    ("name", "sets", "bytes_each"),
    [
        # 16-bit weights gathered into one file, 12 bytes of states and master weights in the ranks' own
        ("phase2/zero3-13b", ("save_strategy=epoch",), 2 + 12),
        # once more as the module's own state
        ("phase2/zero2-13b", ("save_strategy=epoch",), 2 + 2 + 12),
        ("phase2/zero3-13b", ("save_only_model=true",), 2),
        ("phase2/zero3-13b", ("deepspeed=null",), 2 + 2 * 2),  # AdamW in 16 bits
        ("phase2/zero3-13b", ("deepspeed=null", "optimizer=adamw_bnb_8bit"), 2 + 2),
    ],
)
def test_a_full_checkpoint(name: str, sets: tuple[str, ...], bytes_each: float) -> None:
    recipe = shipped_recipe(name, *sets)
    found = checkpoint_bytes(recipe.values, read_workload(recipe))
    assert found == pytest.approx(bytes_each * LLAMA_13B, rel=0.05)


def test_an_adapter_is_small() -> None:
    recipe = shipped_recipe("phase4/lora-13b")
    found = stored(recipe)
    # 62.6M parameters of rank 16 in 32 bits, with two moments
    assert checkpoint_bytes(recipe.values, read_workload(recipe)) == pytest.approx(62_586_880 * 12, rel=0.02)
    # three epochs, two kept, and the one that is written before the oldest goes
    assert found.breakdown["checkpoints"] == pytest.approx(3 * 62_586_880 * 12 / GIB, rel=0.02)
    assert found.breakdown["merged"] == pytest.approx(2 * LLAMA_13B / GIB, rel=0.01)
    assert found.breakdown["download"] == pytest.approx(2 * LLAMA_13B / GIB, rel=0.01)
    assert "merged" not in stored(shipped_recipe("phase4/lora-13b", "merge=false")).breakdown


def test_what_is_here_is_not_downloaded() -> None:
    assert "download" not in stored(shipped_recipe("phase4/dpo-13b")).breakdown, "it starts from a run's model"
    assert "download" not in stored(shipped_recipe("phase1/gpt-1b")).breakdown, "it starts from nothing"


def test_streams_leave_no_data() -> None:
    found = stored(shipped_recipe("phase1/gpt-1b"))
    assert not {"datasets", "prepared"} & set(found.breakdown)
    found = stored(shipped_recipe("phase4/sft-13b"))
    # 207,865 conversations of 1,374 tokens: 23 bytes each where they are packed, twice
    assert found.breakdown["prepared"] == pytest.approx(2 * 207_865 * 1374 * 23 / GIB, rel=0.01)


def test_a_limit_keeps_the_newest() -> None:
    few, many = (stored(shipped_recipe("phase1/gpt-1b", f"save_total_limit={n}")) for n in (1, 8))
    assert many.breakdown["checkpoints"] == pytest.approx(few.breakdown["checkpoints"] * 9 / 2)
    none = stored(shipped_recipe("phase1/gpt-1b", "save_total_limit=1", "save_steps=null", "save_strategy=no"))
    assert "checkpoints" not in none.breakdown


def test_the_engine_counts() -> None:
    full, smoke = stored(shipped_recipe("phase1/gpt-1b")), stored(shipped_recipe("phase1/gpt-1b", profile="smoke"))
    assert full.breakdown["environment"] > smoke.breakdown["environment"] > 3
    assert full.capacity_gib == 5600
