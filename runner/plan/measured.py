"""Tables of measurements -> what was run, in our own words, and what was measured.

Two kinds of table: those of published figures, in words of their authors (columns `model`, `method`, `sharding`, ...),
and our own, which hold the recipe's keys as JSON (columns `config`, `settings`, `box`).
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.models import catalogue
from runner.facts.read import read_facts
from runner.project import shipped

GB_IN_GIB = 1e9 / 2**30


# tools that train in 16 bits throughout unless told otherwise
_PURE = ("litgpt", "litgpt-config_hub", "torchtune", "lightning-thunder")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row. `config` is the model's, `settings` Axolotl's keys, `box` a box file's. Memory in GiB of one GPU:
    `allocated` by torch, `reserved` by torch's allocator or the driver; throughput in tokens per second of one GPU.
    None where a figure was not told; `ran` is False where memory ran out."""

    id: str
    source: str
    config: dict[str, Any]
    settings: dict[str, Any]
    box: dict[str, Any]
    allocated: float | None
    reserved: float | None
    ran: bool
    tokens_per_s: float | None
    notes: str


def read_table(file: Path) -> list[Measurement]:
    """Rows whose model and GPU are known and whose configuration is told whole enough to be planned."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    columns = rows[0].keys() if rows else ()
    if "settings" not in columns and "act_ckpt" not in columns:
        return []  # measurements of something else: serving, a CPU, a trace
    read = _ours if "settings" in columns else _published
    return [found for number, row in enumerate(rows, 2) if (found := read(row, f"{file.stem}:{number}")) is not None]


def unfit(m: Measurement) -> str:
    """Why this row is not fitted on; empty where nothing speaks against it."""
    shard = "fsdp" if "fsdp_version" in m.settings else "whole"
    words = f"{m.source} {m.settings.get('adapter', 'full')} {shard} {m.notes} {m.box.get('gpu', '')} "
    return next((why for pattern, why in _names().get("unfit", []) if re.search(pattern, words, re.IGNORECASE)), "")


def _ours(row: dict[str, str], where: str) -> Measurement | None:
    return Measurement(
        id=row.get("id") or where,
        source=row["source"],
        config=json.loads(row["config"]),
        settings=json.loads(row["settings"]),
        box=json.loads(row["box"]),
        allocated=_number(row.get("peak_gib")),
        reserved=_number(row.get("reserved_gib")),
        ran=row.get("outcome", "ran") == "ran",
        tokens_per_s=_number(row.get("tokens_per_s_per_gpu")),
        notes=row.get("notes", ""),
    )


@cache
def _names() -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = read_facts(shipped("data") / "measured" / "names.yaml")
    return found


def _find(kind: str, word: str) -> Any:
    return next((to for pattern, to in _names()[kind] if re.search(pattern, word, re.IGNORECASE)), None)


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d+)?", text) else None


def _published(row: dict[str, str], where: str) -> Measurement | None:
    model, gpu = _find("models", row["model"]), _find("gpus", row["gpu"])
    told = row["micro_bs"].isdigit() and row["seq_len"].isdigit() and (row["act_ckpt"] or row["source"] == "litgpt")
    if model is None or gpu is None or not told or re.match(r"adapter", row["method"], re.IGNORECASE):
        return None  # LLaMA-Adapter is none of Axolotl's methods
    config = dict(catalogue()[model].config if isinstance(model, str) else model)
    if config["model_type"] == "mpt":
        config["max_seq_len"] = int(row["seq_len"])
    allocated, reserved = _memory(row)
    box = dict(gpu) if isinstance(gpu, dict) else {"gpu": gpu}
    count = int(row["n_gpus"])
    box |= {"gpus": count} if count <= 8 else {"gpus": 8, "nodes": count // 8, "network_gb_s": 200}
    return Measurement(
        id=row["id"] if row["source"] != "" and row.get("id") else where,
        source=row["source"],
        config=config,
        settings=dict(_settings(row)),
        box=box,
        allocated=allocated,
        reserved=reserved,
        ran=row["outcome"] in ("ran", ""),
        tokens_per_s=_number(row["tok_s_gpu"]),
        notes=row["extra"],
    )


def _memory(row: dict[str, str]) -> tuple[float | None, float | None]:
    if row["act_ckpt"].startswith("selective (op"):
        return None, None  # every other matrix product kept: Axolotl's selective checkpointing keeps attention alone
    peak, kind = _number(row["peak_mem"]), row["mem_kind"].lower()
    smi = re.search(r"nvidia-smi=([\d.]+)gib", kind)
    peak = peak * GB_IN_GIB if peak is not None and row["mem_unit"] == "GB" else peak
    if "alloc" in kind or "active" in kind or kind == "max gpu ram":
        return peak, float(smi[1]) if smi else None
    return None, peak if "reserved" in kind or "nvidia-smi" in kind else None


def _settings(row: dict[str, str]) -> Iterator[tuple[str, Any]]:
    method, extra, precision = row["method"].lower(), row["extra"].lower(), row["state_precision"].lower()
    yield "micro_batch_size", int(row["micro_bs"])
    yield "gradient_accumulation_steps", int(row.get("accumulation") or 1)
    yield "sequence_len", int(row["seq_len"])
    yield "sample_packing", True
    yield "pad_to_sequence_len", True
    yield "attn_implementation", "flash_attention_2"
    # two tools hold 16-bit weights and states throughout; mixed precision keeps 32-bit ones
    pure = "pure" in precision or "bf16-true" in precision or "8 b/param" in precision or "fp16 weights" in precision
    yield "bf16", "full" if pure or row["source"] in _PURE else True
    yield "optimizer", _optimizer(row)
    checkpointed = re.match(r"full|on\b|selective \(layer", row["act_ckpt"]) is not None
    sharded = "fsdp" in row["sharding"].lower()
    yield "gradient_checkpointing", checkpointed or (sharded and row["source"] == "litgpt")
    if "selective (op" in row["act_ckpt"]:
        yield from {"gradient_checkpointing": True, "selective_checkpointing": True}.items()
    if "lora" in method:
        yield from _adapter(row, method, extra)
    if "foak" in extra:
        yield from {"liger_rms_norm": True, "liger_rope": True}.items()
        linear = "fused linear cross" in extra
        yield "liger_fused_linear_cross_entropy" if linear else "liger_cross_entropy", True
    if re.search(r"(?<!no )(torch\.)?\bcompile\b", extra) and "no compile" not in extra:
        yield "torch_compile", True
    if "activation offload" in extra:
        yield "activation_offloading", True
    if "chunked ce" in extra:
        yield "chunked_cross_entropy", True
    if "fp8" in precision or "float8" in precision or "float8" in extra:
        yield "fp8", True
    how = row["sharding"].lower()
    if sharded and "no_shard" not in how:
        yield "fsdp_version", 2 if "fsdp2" in how else 1
        yield "fsdp_config", {"reshard_after_forward": "zero-2" not in how, "offload_params": "offload" in how}
    if split := re.search(r"TP(\d+)", row["sharding"]):
        yield "tensor_parallel_size", int(split[1])
    if split := re.search(r"CP(\d+)", row["sharding"]):
        yield "context_parallel_size", int(split[1])


def _optimizer(row: dict[str, str]) -> str:
    given = (row.get("optimizer") or "").lower()
    if "8bit" in given:
        return "paged_adamw_8bit" if "paged" in given else "adamw_8bit"
    return "adamw_torch_fused" if "fused" in given or row["source"] in ("torchtitan", "torchtune") else "adamw_torch"


def _adapter(row: dict[str, str], method: str, extra: str) -> Iterator[tuple[str, Any]]:
    quantized = "qlora" in method or "nf4" in method or "gptq" in method
    yield "adapter", "qlora" if quantized else "lora"
    rank = re.search(r"r=?(\d+)", extra if "lora r" in extra else method)
    yield "lora_r", int(rank[1]) if rank else 8
    if "all linears" in extra:
        yield "lora_target_linear", True
    elif "q,v" in extra or row["source"] == "litgpt":
        yield "lora_target_modules", ["q_proj", "v_proj", "query_key_value"]
    else:
        yield "lora_target_modules", ["q_proj", "k_proj", "v_proj", "o_proj", "c_attn"]
    if quantized:
        yield "load_in_4bit", True
        double = not method.endswith("bnb.nf4")
        yield "bnb_config_kwargs", {"bnb_4bit_use_double_quant": double}


def read_records(artifacts: Path) -> Iterator[Measurement]:
    """Finished runs on GPUs whose run.json holds what was measured and what was run."""
    for file in sorted(artifacts.glob("**/run.json")):
        if ".probes" in file.parts:
            continue  # what `probe --write` keeps of it is a row of data/measured
        try:
            record = json.loads(file.read_text())
        except (OSError, ValueError):
            continue
        measured, plan = record.get("measured"), record.get("planned")
        if not isinstance(measured, dict) or not isinstance(plan, dict) or not plan.get("config"):
            continue
        yield Measurement(
            id=str(file.parent),
            source="own runs",
            config=plan["config"],
            settings=plan["settings"],
            box=plan["box"],
            allocated=measured.get("memory.peak_gib"),
            reserved=measured.get("memory.reserved_gib"),
            ran=record.get("status") == "finished",
            tokens_per_s=measured.get("speed.tokens_per_s_per_gpu"),
            notes=str(record.get("recipe", "")),
        )
