"""lm-eval and vLLM for real: a model, its adapter and its endpoint answer alike; a judge is asked; runs are compared.

The server's start is the dear part: one here, in which a model is served for its evaluation, and one in the smoke run
of the recipe that judges.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.record import runs
from tests.engine.conftest import Smoke

MODEL = "phase4/eval-dpo-13b"
# the same weights, to which an adapter was added while they were computed, and which a server rounds in another order
TOLERANCE = 0.05


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results/summary.json").read_text())
    return found


def asked_otherwise(smoked: Smoke, *sets: str) -> Path:
    """The run of a trial of the same recipe; its own is not touched."""
    before = {run.path for run in runs(smoked.project, MODEL, "smoke")}
    settings = [word for each in sets for word in ("--set", each)]
    done = smoked.call("run", MODEL, "--profile", "smoke", "--force", *settings, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    [new] = {run.path for run in runs(smoked.project, MODEL, "smoke")} - before
    return new


@pytest.fixture(scope="module")
def ways(smoked: Smoke) -> dict[str, Path]:
    """One model asked in three ways: loaded from its folder, as an adapter on its base, served by vLLM."""
    return {
        "folder": smoked.run(MODEL).path,
        "adapter": asked_otherwise(smoked, "model=${needs.run.adapter}"),
        "endpoint": asked_otherwise(smoked, "serve={dtype: float32}"),
    }


def test_three_ways_agree(ways: dict[str, Path]) -> None:
    found = {way: summary(run)["tasks"] for way, run in ways.items()}
    for task, metric in (("smoke_answers", "exact_match"), ("smoke_choices", "acc"), ("smoke_code", "pass@1")):
        scores = [tasks[task]["metrics"][metric]["value"] for tasks in found.values()]
        assert max(scores) - min(scores) <= TOLERANCE, (task, scores)
        assert len({tasks[task]["documents"] for tasks in found.values()}) == 1
        assert len({tasks[task]["prompts"] for tasks in found.values()}) == 1


def test_each_was_reached_as_it_should(ways: dict[str, Path]) -> None:
    configs = {way: (run / "lm_eval.yaml").read_text() for way, run in ways.items()}
    assert "peft:" in configs["adapter"]
    assert "peft:" not in configs["folder"]
    assert "model: local-completions" in configs["endpoint"]
    assert (ways["endpoint"] / "replica-0.log").stat().st_size > 0


def test_nothing_is_left_of_the_server(ways: dict[str, Path]) -> None:
    marked = subprocess.run(["pgrep", "-f", str(ways["endpoint"])], capture_output=True, text=True, check=False)
    assert marked.stdout == ""
    state = json.loads((ways["endpoint"] / "endpoint-state.json").read_text())
    assert state["status"] == "stopped"


def test_a_trained_model_knows_more_than_chance(ways: dict[str, Path]) -> None:
    """Four answers to choose from, and questions that were in no training: words of its own it gets right too."""
    tasks = summary(ways["folder"])["tasks"]
    assert tasks["smoke_choices"]["n"] == 78
    assert tasks["smoke_choices"]["metrics"]["acc"]["value"] > 0.25
    # how many answers it finds by itself differs from training to training, and may be none; made into programs that
    # are run they are as many; lm-eval sums the two means' errors in different orders
    assert tasks["smoke_code"]["metrics"]["pass@1"] == pytest.approx(tasks["smoke_answers"]["metrics"]["exact_match"])


def test_the_record_says_what_it_came_to(smoked: Smoke) -> None:
    run = smoked.run(MODEL)
    assert run.record["metrics"]["score/smoke_choices/acc"] == pytest.approx(
        summary(run.path)["tasks"]["smoke_choices"]["metrics"]["acc"]["value"]
    )
    assert run.record["metrics"]["headline"].startswith("smoke_answers exact_match")
    assert [output["type"] for output in run.record["outputs"]] == ["results"]


def test_the_judge_was_asked_in_both_orders(smoked: Smoke) -> None:
    run = smoked.run("phase4/judge-dpo-13b")
    rows = [json.loads(line) for line in (run.path / "results/verdicts.jsonl").read_text().splitlines()]
    judged = summary(run.path)["judge"]
    assert len(rows) == judged["pairs"] == 12
    assert judged["wins"] + judged["ties"] + judged["losses"] + judged["unparsed"] == 12
    # a tiny judge's verdicts are noise; that it could write nothing but verdicts is the server's doing
    assert judged["failed"] == 0
    assert judged["n"] == 12
    assert all(len(row["said"]) == 2 for row in rows)
    assert 0 <= judged["low"] <= judged["win_rate"] <= judged["high"] <= 1
    assert run.record["engine"]["others"]


def test_the_comparison_of_finetunes(smoked: Smoke) -> None:
    output = smoked.run("phase4/compare-qlora-full").path / "output"
    table = json.loads((output / "table.json").read_text())
    assert [row["run"] for row in table["rows"]] == ["full", "LoRA", "QLoRA"]
    pairs = json.loads((output / "pairs/table.json").read_text())["rows"]
    assert {(row["first"], row["second"]) for row in pairs} == {("full", "LoRA"), ("full", "QLoRA"), ("LoRA", "QLoRA")}
    for row in pairs:
        assert row["low"] <= row["difference"] <= row["high"]
    for name in ("scores.png", "scores.svg", "differences.png", "differences.svg", "table.md", "table.csv"):
        assert (output / name).stat().st_size > 0


def test_compare_on_the_command_line(smoked: Smoke, ways: dict[str, Path]) -> None:
    done = smoked.call("compare", MODEL, "phase4/eval-lora-13b", "--profile", "smoke", "--task", "smoke_choices")
    assert done.returncode == 0, done.stderr
    assert "smoke_choices acc" in done.stdout
    assert "smoke_answers" not in done.stdout
    refused = smoked.call("compare", str(ways["folder"]), "phase4/judge-dpo-13b", "--profile", "smoke")
    assert refused.returncode == 1
    assert "`judge-dpo-13b` was not asked `smoke_choices`, `smoke_code`" in refused.stderr
