"""The memory model against the engine's own libraries, traced here and now: a new version of one shows in this test."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.engines.environment import Environment
from runner.plan.memory.peak import peak
from tests.engine.stand_ins import nightly
from tests.plan.traced import MODELS, workload_of_row

TRACER = Path(__file__).parent / "memory_trace.py"
ROW = {
    "weights": "bf16", "autocast": "true", "attention": "flash", "optimizer": "adamw_torch", "loss": "default",
    "quant": "none", "accumulation": "1", "lora_r": "16", "lora_targets": "all-linear", "notes": "",
}  # fmt: skip
CASES = [
    {"model": "qwen2.5-0.5b", "method": "full", "checkpointing": "none", "micro_batch": "2", "seq_len": "1024"},
    {"model": "qwen2.5-0.5b", "method": "lora", "checkpointing": "full", "micro_batch": "4", "seq_len": "2048"},
    {"model": "llama-3.2-1b", "method": "lora", "checkpointing": "none", "micro_batch": "1", "seq_len": "2048"},
    {"model": "gpt2", "method": "full", "checkpointing": "full", "micro_batch": "4", "seq_len": "1024"},
]
CASES[2]["quant"] = "nf4-dq"


@pytest.mark.skipif(shutil.which("g++") is None, reason="the tracer compiles a few lines of C++")
@pytest.mark.parametrize(
    "case",
    [
        # the smallest soon, what takes the better part of a minute each by night
        pytest.param(
            case,
            id="-".join((case["model"], case["method"], case["checkpointing"])),
            marks=() if case["model"] == "gpt2" else nightly,
        )
        for case in CASES
    ],
)
def test_the_model_foresees_what_the_libraries_allocate(axolotl: Environment, case: dict[str, str]) -> None:
    row = ROW | case
    options: dict[str, Any] = {"method": row["method"], "checkpointing": row["checkpointing"], "quant": row["quant"]}
    options |= {"micro_batch": int(row["micro_batch"]), "seq_len": int(row["seq_len"])}
    if row["method"] == "lora":
        options["lora"] = {"r": 16, "target_modules": "all-linear"}
    done = subprocess.run(
        [axolotl.python, str(TRACER), json.dumps(MODELS[row["model"]]), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    assert peak(workload_of_row(row)).bytes == pytest.approx(measured, rel=0.05)
