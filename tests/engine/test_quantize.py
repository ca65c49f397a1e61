"""Every scheme is made from a trained tiny model, judged, loaded and lets itself be asked; a ruined one is caught."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.engines.environment import ensure, environment
from runner.facts.schemes import bits_per_weight
from runner.record import Run, read_run, runs
from tests.conftest import recipes_of
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import each
from tests.engine.test_smoke import why

RECIPES = recipes_of("llmcompressor")
# vLLM has kernels for these on a CPU
SERVED = ["phase3/quantize-fp8-13b", "phase3/quantize-w8a8-13b"]
WORKERS = Path(__file__).parent
# a trial of its own: calibrated on what a `prepare` recipe left, judged by windows of plain text
OWN = """\
recipe: 1
kind: quantize
title: A test
extends: phase3/quantize-gptq-13b
needs:
  data: phase1/data-stdlib
calibration:
  path: ${needs.data.dataset}
profiles:
  smoke:
    calibration: {path: "${needs.data.dataset}", split: null, field_messages: null}
    num_calibration_samples: 8
    held_out:
      path: ${data}/smoke/reward.jsonl
      field_messages: null
      format: "<|im_start|>assistant\\n{chosen}<|im_end|>"
    held_out_length: 64
"""


def finished(smoked: Smoke, recipe: str) -> Run:
    if not (smoked.project.artifacts / recipe / "smoke" / "done").exists():
        pytest.fail(why(smoked, recipe))
    return smoked.run(recipe)


def gate_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "output/table/gate.json").read_text())
    return found


def answers(engine: str, worker: str, folders: list[Path], **variables: str) -> dict[str, str]:
    """What each checkpoint says, asked in that engine's environment by one process for all."""
    env = environment(engine)
    ensure(env, lambda progress: None)
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(env.path / "bin/python"), str(WORKERS / worker), *map(str, folders)],
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **offline, **variables},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("recipe", each(RECIPES))
def test_each_scheme_is_made_and_passes_its_gate(smoked: Smoke, recipe: str) -> None:
    run = finished(smoked, recipe)
    found, metrics = gate_of(run.path), run.record["metrics"]
    assert (found["passed"], found["scheme"]) == (True, run.record["values"]["scheme"])
    assert {each["type"] for each in run.record["outputs"]} == {"quantized-model", "table"}
    # trained: it knows which answers are good, and what follows in them
    assert found["perplexity"]["before"] < 20
    assert found["task"]["before"] > 0.9
    assert found["task"]["tasks"]["smoke_answers"]["samples"] == 60
    for part in (found["perplexity"], found["task"]):
        low, high = part["interval"]
        assert low <= part["recovery"] <= high
        assert part["decided"] == (not low < part["least"] <= high)
    assert metrics["recovery"] == found["perplexity"]["recovery"] > 0.9
    assert metrics["quantize_seconds"] > 0 < metrics["peak_rss_gib"]
    assert found["decode_tokens_per_s"]["after"] > 0


@pytest.mark.parametrize("recipe", each(RECIPES))
def test_each_is_as_small_as_its_scheme_says(smoked: Smoke, recipe: str) -> None:
    """Of 950,912 weights 425,984 are matrices of layers; the others stay in 32 bits."""
    run = finished(smoked, recipe)
    found, whole = gate_of(run.path), gate_of(run.path)["parameters"]
    config = json.loads((run.path / "output/model/config.json").read_text())
    assert config["quantization_config"]["quant_method"] in ("compressed-tensors", "bitsandbytes")
    key_value = config["num_key_value_heads"] * config["head_dim"]
    matrices = 2 * (2 * 128 * 128 + 2 * 128 * key_value + 3 * 128 * 384)
    wanted = matrices * bits_per_weight(run.record["values"]) + (whole - matrices) * 32
    assert found["bytes"] * 8 == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("recipe", each(RECIPES))
def test_what_was_planned_is_near_what_was_measured(smoked: Smoke, recipe: str) -> None:
    record = finished(smoked, recipe).record
    said, was = record["predicted"], record["measured"]
    assert was["host.ram_gib"] == pytest.approx(said["host.ram_gib"], rel=0.25)
    assert was["disk.gib"] == pytest.approx(said["disk.gib"], rel=0.25)
    assert was["time.hours"] > 0 < said["time.hours"]


def test_the_table_has_a_row_for_people(smoked: Smoke) -> None:
    folder = finished(smoked, "phase3/quantize-gptq-13b").path / "output/table"
    with (folder / "table.csv").open(newline="") as stream:
        [row] = csv.DictReader(stream)
    assert (row["scheme"], row["method"], row["passed"]) == ("W4A16", "gptq", "True")
    assert float(row["recovery low"]) <= float(row["recovery"]) <= float(row["recovery high"])
    assert json.loads((folder / "table.json").read_text())["columns"] == list(row)
    assert gate_of(folder.parents[1])["verdict"] in (folder / "table.md").read_text()


def test_each_answers_in_transformers(smoked: Smoke, left_out: frozenset[str]) -> None:
    folders = {finished(smoked, recipe).path / "output/model": recipe for recipe in RECIPES if recipe not in left_out}
    found = answers("llmcompressor", "transformers_worker.py", list(folders))
    for folder, recipe in folders.items():
        assert found[str(folder)].startswith("The answer is "), recipe


def test_those_with_kernels_for_a_cpu_answer_in_vllm(smoked: Smoke) -> None:
    folders = [finished(smoked, recipe).path / "output/model" for recipe in SERVED]
    alone = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    found = answers("vllm", "vllm_worker.py", folders, **alone, VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1")
    for folder in folders:
        assert found[str(folder)].startswith("The answer is ")


def ruin(file: Path) -> int:
    """Other bits in the packed weights of every layer, sizes and scales as they were; returns how many matrices."""
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header, rng = json.loads(data[8:start]), random.Random(0)
    packed = [name for name in header if name.endswith(".weight_packed")]
    for name in packed:
        first, last = (start + at for at in header[name]["data_offsets"])
        data[first:last] = rng.randbytes(last - first)
    file.write_bytes(data)
    return len(packed)


def test_the_gate_catches_a_ruined_checkpoint(smoked: Smoke) -> None:
    """Its weights change between the two steps, as if the first had gone wrong; the run goes on with the second."""
    finished(smoked, "phase1/data-stdlib")
    (smoked.project.recipes / "phase3/own.yaml").write_text(OWN)
    done = smoked.call("run", "phase3/own", "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = runs(smoked.project, "phase3/own", "smoke")
    before = gate_of(run.path)
    assert before["perplexity"]["samples"] > 20

    (run.path / "run.json").write_text(json.dumps({**run.record, "status": "interrupted"}))
    assert ruin(run.path / "output/model/model.safetensors") == 14
    done = smoked.call("run", "phase3/own", "--profile", "smoke")
    assert done.returncode == 4
    assert "the gate is not passed: " in done.stderr
    assert "perplexity: recovery 0." in done.stderr
    again = read_run(run.path)
    assert again is not None
    assert (again.status, again.record["outputs"]) == ("failed", [])
    assert again.record["error"].startswith("the gate is not passed: ")
    assert again.record["error"].endswith("the checkpoint was set aside in rejected/model")
    assert not (run.path / "output/model").exists()
    assert (run.path / "rejected/model/model.safetensors").is_file()
    after = gate_of(run.path)
    assert (after["passed"], after["perplexity"]["passed"]) == (False, False)
    assert after["perplexity"]["before"] == pytest.approx(before["perplexity"]["before"])
    assert after["perplexity"]["recovery"] < 0.5 < before["perplexity"]["recovery"]
    assert "is there already" in (run.path / "log.txt").read_text()


def test_all_schemes_of_one_model_are_in_one_table(smoked: Smoke) -> None:
    run = finished(smoked, "phase3/quantization-compare")
    table = json.loads((run.path / "output/table.json").read_text())
    listed = {each["label"]: Path(each["gate"]) for each in run.record["values"]["runs"]}
    assert [row["run"] for row in table["rows"]] == list(listed)
    for row in table["rows"]:
        found = json.loads((listed[row["run"]] / "gate.json").read_text())
        assert (row["scheme"], row["bits/weight"]) == (found["scheme"], found["bits_per_weight"])
        assert row["recovery"] == found["perplexity"]["recovery"]
    # all of one model, judged on one text
    assert len({row["perplexity before"] for row in table["rows"]}) == 1
    assert (run.path / "output/quantization.png").stat().st_size > 10_000
