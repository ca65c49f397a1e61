"""Mixtures of experts for real: what routers chose is counted exactly, and the balance loss evens it out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import each, nightly

WORKER = Path(__file__).with_name("experts_worker.py")
COMPARE = "phase5/moe-compare"
MIXTURES = {"top-2": 8, "top-2-unbalanced": 8, "top-1": 4, "top-1-unbalanced": 4}


@pytest.fixture(scope="module")
def counted(axolotl: Environment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(axolotl.python), str(WORKER)], cwd=tmp_path_factory.mktemp("experts"), env=env, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_shares_are_what_the_routers_chose(counted: dict[str, Any]) -> None:
    measured = counted["measured"]
    assert [(line["step"], line["layer"]) for line in measured] == [(3, 0), (3, 1)]
    for line, again in zip(measured, counted["again"], strict=True):
        assert line["shares"] == pytest.approx(again, abs=1e-4)
        assert sum(line["shares"]) == pytest.approx(1, abs=1e-4)
        assert line["most"] == pytest.approx(4 * max(line["shares"]), abs=1e-3)
        assert 0 < line["entropy"] <= 1 <= line["most"]


def test_an_evaluation_is_of_the_text_alone(counted: dict[str, Any]) -> None:
    """With a balance loss of weight 5 transformers' own evaluation would be some 10 nats above."""
    assert counted["eval_loss"] == pytest.approx(counted["text_loss"], abs=1e-3)
    assert counted["still_on"] is True


@pytest.fixture(scope="module")
def table(smoked: Smoke) -> dict[str, dict[str, str]]:
    with (smoked.run(COMPARE).path / "output/table.csv").open(newline="") as stream:
        return {row["child"]: row for row in csv.DictReader(stream)}


@nightly
def test_the_balance_loss_evens_the_load(table: dict[str, dict[str, str]]) -> None:
    for name in ("top-1", "top-2"):
        with_it, without = table[name], table[f"{name}-unbalanced"]
        assert float(with_it["load cv"]) < float(without["load cv"])
        assert float(with_it["balance loss"]) < float(without["balance loss"])


@nightly
def test_all_learned_and_were_measured(table: dict[str, dict[str, str]]) -> None:
    assert set(table) == {"dense-active", "dense-total", *MIXTURES}
    assert len({row["tokens"] for row in table.values()}) == 1
    for row in table.values():
        assert 0 < float(row["loss"]) < 6.5  # of 7.6 for guessing among 2,048 tokens
        assert float(row["tokens/s"]) > 0
        assert float(row["peak GiB"]) > 0


@nightly
def test_each_layer_reports_at_each_step_that_is_logged(smoked: Smoke) -> None:
    for name, count in MIXTURES.items():
        run = smoked.run(f"{COMPARE}/{name}")
        lines = [json.loads(line) for line in (run.path / "experts.jsonl").read_text().splitlines()]
        every, last = run.record["values"]["logging_steps"], run.record["values"]["max_steps"]
        assert [(line["step"], line["layer"]) for line in lines] == [
            (step, layer) for step in range(every, last + 1, every) for layer in (0, 1)
        ]
        assert {len(line["shares"]) for line in lines} == {count}
        assert run.record["metrics"]["experts/cv"] == pytest.approx(sum(x["cv"] for x in lines[-2:]) / 2, abs=1e-4)
    assert not (smoked.run(f"{COMPARE}/dense-active").path / "experts.jsonl").exists()


@nightly
def test_figures(smoked: Smoke) -> None:
    output = smoked.run(COMPARE).path / "output"
    for name in ("losses", "costs", "experts"):
        for suffix in ("png", "svg"):
            assert (output / f"{name}.{suffix}").stat().st_size > 5000


# one that streams text, and one that is finetuned, with gradients averaged over two processes
@pytest.mark.parametrize("recipe", each(["phase5/moe-switch-small", "phase5/moe-mixtral-lora"]))
def test_axolotls_mixtures_report_their_load_too(smoked: Smoke, recipe: str) -> None:
    metrics = smoked.run(recipe).record["metrics"]
    assert metrics["experts/most"] >= 1
    assert metrics["experts/balance"] > 0
