"""Rows of data/measured/traced.csv, and their recipes: what real libraries allocate, traced without a GPU."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.facts.boxes import make_box
from runner.facts.families import architecture_of
from runner.plan.reading import workload_of
from runner.plan.workload import Workload
from runner.project import shipped

TABLE = shipped("data") / "measured" / "traced.csv"
MODELS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "traced_models.json").read_text())
ATTENTION = {"flash": "flash_attention_2", "sdpa": "sdpa", "eager": "eager"}


def settings_of(row: dict[str, str]) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "micro_batch_size": int(row["micro_batch"]),
        "sequence_len": int(row["seq_len"]),
        "gradient_accumulation_steps": int(row["accumulation"]),
        "sample_packing": True,
        "bf16": row["autocast"] == "true" or (row["weights"] == "bf16" and "full"),
        "gradient_checkpointing": row["checkpointing"] == "full",
        "attn_implementation": ATTENTION[row["attention"]],
        "optimizer": row["optimizer"],
    }
    if row["method"] == "lora":
        keys |= {"adapter": "lora", "lora_r": int(row["lora_r"])}
        every = row["lora_targets"] == "all-linear"
        keys |= {"lora_target_linear": True} if every else {"lora_target_modules": row["lora_targets"].split("+")}
    if "dropout" in row["notes"] and row["method"] == "lora" and "resid" not in row["notes"]:
        keys["lora_dropout"] = 0.05
    if row["quant"] == "int8":
        keys |= {"load_in_8bit": True}
    elif row["quant"] != "none":
        double = row["quant"] == "nf4-dq"
        keys |= {"adapter": "qlora", "load_in_4bit": True}
        keys |= {"bnb_config_kwargs": {"bnb_4bit_use_double_quant": double}}
    if row["loss"] == "liger_all":
        keys |= {"liger_rms_norm": True, "liger_rope": True, "liger_swiglu": True}
    if row["loss"] in ("liger_flce", "liger_all"):
        keys["liger_fused_linear_cross_entropy"] = True
    return keys


def traced() -> Iterator[tuple[dict[str, str], Workload]]:
    """Each row with the workload that stands for it."""
    with TABLE.open(newline="") as stream:
        for row in csv.DictReader(stream):
            yield row, workload_of_row(row)


def workload_of_row(row: dict[str, str]) -> Workload:
    box = make_box("traced", {"gpu": "H100", "gpus": 1})
    w = workload_of("finetune", settings_of(row), architecture_of(MODELS[row["model"]]), box, 1)
    return replace(w, weight_bytes=4, grad_bytes=4) if row["weights"] == "fp32" else w


def other(row: dict[str, str]) -> str:
    """Why a row is of something that no recipe of ours does; empty where one does."""
    if row["weights"] == "fp32" and row["autocast"] == "true":
        return "32-bit weights under autocast: Axolotl loads them in 16 bits"
    if row["autocast"] == "false" and row["method"] == "lora":
        return "adapters without automatic mixed precision"
    if row["model"].startswith("mixtral") and (row["quant"] != "none" or row["lora_targets"] == "all-linear"):
        return "experts left in 16 bits, or adapted through target_parameters"
    return "embeddings in 32 bits" if "fp32" in row["notes"] else ""
