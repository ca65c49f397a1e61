"""`runner calibrate`: what it tells, what it writes, and that plans then go by it."""

from __future__ import annotations

import json

import yaml

from tests.conftest import Bench

OWN = """\
source,config,settings,box,peak_gib,reserved_gib,tokens_per_s_per_gpu,notes
own box,"{config}","{settings}","{box}",,,{rate},a slow one
"""


def test_errors_before_and_after_by_source(bench: Bench) -> None:
    done = bench.call("calibrate")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("llm-foundry") and "speed" in line for line in lines)
    assert any(line.startswith("all") and "peak" in line for line in lines)
    assert not (bench.project.root / "data").exists(), "nothing is written unless asked for"


def test_a_projects_own_efficiencies_win(bench: Bench) -> None:
    """A machine a third slower than foreseen, measured often."""
    bench.write("r", RECIPE)
    before = json.loads(bench.call("plan", "r", "--json").stdout)
    config = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
    config |= {"num_attention_heads": 32, "vocab_size": 32000}
    settings = {"micro_batch_size": 4, "sequence_len": 2048, "bf16": True, "attn_implementation": "flash_attention_2"}
    cells = [json.dumps(value).replace('"', '""') for value in (config, settings, {"gpu": "H100", "gpus": 1})]
    head, row = OWN.splitlines()
    rate = before["speed"]["tokens_per_s_per_gpu"] * 0.65
    text = row.format(config=cells[0], settings=cells[1], box=cells[2], rate=round(rate))
    table = bench.project.root / "slow.csv"
    table.write_text("\n".join([head, *[text] * 60]) + "\n")
    done = bench.call("calibrate", str(table), "--write")
    assert done.returncode == 0, done.stderr
    kept = yaml.safe_load((bench.project.root / "data" / "efficiency.yaml").read_text())
    assert kept["sources"]["own box"] == 60
    assert set(kept["error"]["speed"]) == {"before", "after", "covered"}
    assert kept["previous"]["matmul"] != kept["matmul"]
    after = json.loads(bench.call("plan", "r", "--json").stdout)
    assert after["speed"]["step_s"] > before["speed"]["step_s"] * 1.02


def test_json(bench: Bench) -> None:
    done = json.loads(bench.call("calibrate", "--json").stdout)
    assert {"source", "figure", "before", "after"} == set(done["sources"][0])
    assert done["fitted"]["matmul"]["default"] > 1


RECIPE = """\
recipe: 1
kind: finetune
title: A test
box: 1xh100
base_model: meta-llama/Llama-2-7b-hf
datasets: [{path: tatsu-lab/alpaca, type: alpaca}]
learning_rate: 1e-4
bf16: true
sequence_len: 2048
"""
