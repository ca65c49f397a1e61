"""What a run measured beside what was predicted, and tables of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from runner.facts.families import architecture_of
from runner.launch.local import Ended
from runner.launch.measured import (
    MEASURED,
    disk_bytes,
    foreseen,
    measured,
    number,
    one_line,
    predicted,
    scaling,
    side_by_side,
)
from runner.launch.table import FIELDS, append, planned, row, table_file
from runner.plan.measured import read_table
from runner.recipe.resolve import Recipe
from tests.conftest import BODY, HEADER, Bench
from tests.launch.test_supervise import recipe_of

METRICS = {"step": 40, "max_steps": 40, "train_runtime": 36.0}


def ended(**given: Any) -> Ended:
    found = {"code": 0, "interrupted": False, "seconds": 1.0, "parts": {}, "peak_rss_gib": 0.5, "resident_gib": {}}
    return Ended(**{**found, **given})


def rank(run: Path, number: int, **figures: Any) -> None:
    (run / MEASURED).mkdir(exist_ok=True)
    (run / MEASURED / f"rank-{number}.json").write_text(json.dumps({"rank": number, **figures}))


@pytest.fixture
def recipe(bench: Bench) -> Recipe:
    return recipe_of(bench)


def test_ranks_are_added_up_or_the_worst_counts(recipe: Recipe, tmp_path: Path) -> None:
    rank(tmp_path, 0, peak_rss_gib=2.0, peak_allocated_gib=30.0, peak_reserved_gib=33.0, step_s=0.5, tokens_per_s=100)
    rank(tmp_path, 1, peak_rss_gib=3.0, peak_allocated_gib=31.0, peak_reserved_gib=32.0, step_s=0.6, tokens_per_s=90)
    found = measured(recipe, tmp_path, ended(), METRICS)
    assert found["host.ram_gib"] == 5.0
    assert found["host.ranks_gib"] == [2.0, 3.0]
    assert (found["memory.peak_gib"], found["memory.reserved_gib"]) == (31.0, 33.0)
    assert (found["speed.step_s"], found["speed.tokens_per_s_per_gpu"]) == (0.6, 95.0)
    assert (found["time.steps"], found["time.hours"]) == (40, 0.01)


def test_another_step_may_need_more(recipe: Recipe, tmp_path: Path) -> None:
    rank(tmp_path, 0, peak_rss_gib=4.0)
    assert measured(recipe, tmp_path, ended(peak_rss_gib=26.0), METRICS)["host.ram_gib"] == 26.0
    found = measured(recipe, tmp_path, ended(resident_gib={"train": 4.5, "merge": 9.0}), METRICS)
    assert found["host.ram_gib"] == 9.0
    assert found["host.parts_gib"] == {"train": 4.5, "merge": 9.0}


def test_on_a_cpu_helpers_do_not_count(bench: Bench, tmp_path: Path) -> None:
    rank(tmp_path, 0, peak_rss_gib=0.8)
    found = measured(recipe_of(bench, "smoke"), tmp_path, ended(resident_gib={"train": 1.2}), METRICS)
    assert found["host.ram_gib"] == 0.8


def test_a_run_that_left_nothing(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / MEASURED).mkdir()
    (tmp_path / MEASURED / "rank-0.json").write_text('{"rank": 0, "peak')
    (tmp_path / MEASURED / "rank-1.json").write_text("[]")
    found = measured(recipe, tmp_path, ended(), {"step": 3, "max_steps": 40})
    assert "time.steps" not in found, "it did not come to its end"
    assert not {"memory.peak_gib", "speed.step_s", "time.hours", "host.ranks_gib"} & set(found)
    assert found["host.ram_gib"] == 0.5


def test_disk_is_the_runs_and_what_it_took_from_the_hub(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    run = tmp_path / "run"
    (run / "output").mkdir(parents=True)
    before = disk_bytes(recipe, run)
    (run / "output/model.safetensors").write_bytes(b"x" * 1000)
    (run / "base").symlink_to(tmp_path)
    blob = tmp_path / "hub/models--meta-llama--Llama-2-13b-hf/blobs/a"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x" * 500)
    (blob.parent / "link").symlink_to(blob)
    assert disk_bytes(recipe, run) == before + 1500


def test_predictions_have_the_plans_names(bench: Bench, recipe: Recipe) -> None:
    plan = foreseen(recipe)
    assert plan is not None
    found = predicted(plan)
    assert set(found) == {
        "memory.peak_gib", "memory.reserved_gib", "host.ram_gib", "disk.gib", "speed.tokens_per_s_per_gpu",
        "speed.step_s", "time.steps", "time.hours",
    }  # fmt: skip
    assert found["time.steps"] == 51760 // 2
    smoke = foreseen(recipe_of(bench, "smoke"))
    assert smoke is not None
    assert not any(name.startswith("memory.") for name in predicted(smoke)), "there is no GPU to have any"


def test_what_cannot_be_planned_is_nothing(bench: Bench) -> None:
    text = HEADER + BODY.replace("meta-llama/Llama-2-13b-hf", "someone/unheard-of")
    assert foreseen(recipe_of(bench, text=text)) is None


def test_side_by_side() -> None:
    said = {"host.ram_gib": 0.9, "time.steps": 1234, "disk.gib": 4.0}
    found = {"host.ram_gib": 0.85123, "time.steps": 1234, "speed.step_s": 0.0421}
    assert one_line(said, found) == "predicted/measured: host RAM 0.9/0.851 GiB, steps 1,234/1,234"
    assert one_line({}, found) == ""
    assert ("step (s)", "-", "0.0421") in side_by_side(said, found)
    assert ("disk (GiB)", "4", "-") in side_by_side(said, found)
    assert [number(n) for n in (None, 40, 1234.5, 0.12345, 99.95)] == ["-", "40", "1,234", "0.123", "100"]


# --- tables ---


def record(**more: Any) -> dict[str, Any]:
    found = {"memory.peak_gib": 30.5, "host.ram_gib": 5.0, "host.ranks_gib": [2.0, 3.0], "speed.step_s": 0.5}
    versions = {"torch": "2.13.0", "axolotl": "0.19.0", "python": "3.11"}
    engine = {"versions": versions}
    return {
        "run": "1",
        "status": "finished",
        "started": "2026-11-24T01:02:03",
        "measured": found,
        "engine": engine,
    } | more


def test_a_row_can_be_calibrated_on(bench: Bench, recipe: Recipe) -> None:
    file = table_file(bench.project, recipe.box.name)
    assert file == bench.project.root / "data/measured/2xh100.csv"
    append(file, row(recipe, record()))
    append(file, row(recipe, record(status="failed", error="torch.OutOfMemoryError: CUDA out of memory")))
    append(file, row(recipe, record(status="failed", error="ValueError: no")))
    with file.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [r["outcome"] for r in table] == ["ran", "OOM", "failed"]
    assert table[0]["ranks"] == "2"
    assert table[0]["versions"] == "torch==2.13.0 axolotl==0.19.0"
    first = read_table(file)[0]
    assert (first.allocated, first.reserved, first.ran) == (30.5, None, True)
    assert first.config["hidden_size"] == 5120
    assert first.settings["lora_r"] == 8
    assert first.box["gpus"] == 2
    assert not {"base_model", "datasets"} & set(first.settings)


def test_a_table_keeps_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "box.csv"
    file.write_text("recipe,steps,extra\nold,1,2\n")
    append(file, dict.fromkeys(FIELDS, "x"))
    assert file.read_text().splitlines() == ["recipe,steps,extra", "old,1,2", "x,x,"]


def test_the_shipped_table_of_this_machine_is_whole() -> None:
    from runner.project import shipped

    with (shipped("data") / "measured" / "cpu.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) >= 23
    for each in table:
        assert tuple(each) == FIELDS
        assert each["outcome"] == "ran"
        assert float(each["host_gib"]) > 0.5
        assert json.loads(each["settings"])["micro_batch_size"] > 0


def test_planned_leaves_no_paths(recipe: Recipe) -> None:
    assert "/" not in json.dumps(planned(recipe)["settings"])


SCRATCH = """\
recipe: 1
kind: pretrain
title: t
box: 1xh100
architecture: {model_type: gpt2, n_layer: 2, n_head: 2, n_embd: 64, n_positions: 64, vocab_size: 300}
tokenizer_config: x/y
datasets: [{path: x/z, type: completion}]
sequence_len: 64
micro_batch_size: 4
gradient_accumulation_steps: 2
max_steps: 10
learning_rate: 1e-3
"""


def test_a_run_from_scratch_is_a_point_of_a_scaling_law(bench: Bench) -> None:
    recipe = recipe_of(bench, text=SCRATCH)
    assert recipe.architecture is not None
    params = architecture_of(recipe.architecture).parameters
    found = scaling(recipe, {"time.steps": 10}, {"loss": 3.0, "eval_loss": 3.2})
    assert found == {"params": params, "tokens": 10 * 4 * 2 * 64, "flops": 6 * params * 5120, "loss": 3.2}
    # the trainer's own count wins, and without an evaluation the loss is that of training
    assert scaling(recipe, {"time.steps": 10}, {"loss": 3.0, "tokens": 5000}) == {
        "params": params, "tokens": 5000, "flops": 6 * params * 5000, "loss": 3.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "metrics"), [({}, {"loss": 3.0}), ({"time.steps": 3}, {}), ({"time.steps": 3}, {"loss": "nan"})]
)
def test_a_run_without_an_end_or_a_loss_is_no_point(
    bench: Bench, found: dict[str, Any], metrics: dict[str, Any]
) -> None:
    assert scaling(recipe_of(bench, text=SCRATCH), found, metrics) is None


def test_a_finetune_is_no_point(recipe: Recipe) -> None:
    assert scaling(recipe, {"time.steps": 3}, {"loss": 1.0}) is None
