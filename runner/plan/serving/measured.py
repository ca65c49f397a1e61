"""Tables of published serving measurements -> what was run, and how fast it was."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from runner.facts.architecture import Architecture
from runner.facts.boxes import make_box
from runner.facts.families import architecture_of
from runner.facts.gpus import GpuFacts
from runner.facts.models import catalogue
from runner.plan.serving.cache import make_cache, sequences
from runner.plan.serving.constants import Constants
from runner.plan.serving.footprint import footprint
from runner.plan.serving.settings import Resolved, Settings, resolve

Kind = Literal["tokens_per_s", "first_token", "per_token"]

QWEN3_235B = {"model_type": "qwen3_moe", "hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64,
    "num_key_value_heads": 4, "head_dim": 128, "moe_intermediate_size": 1536, "num_experts": 128,
    "num_experts_per_tok": 8, "vocab_size": 151936, "max_position_embeddings": 40960}  # fmt: skip
LLAMA_405B = {"model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
    "num_attention_heads": 128, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072}  # fmt: skip
INTERNLM_20B = {"model_type": "llama", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 60,
    "num_attention_heads": 40, "num_key_value_heads": 40, "vocab_size": 103168,
    "max_position_embeddings": 4096}  # fmt: skip
# what tables call a model -> ours, or its config; the first pattern that is found wins
MODELS: list[tuple[str, str | dict[str, Any]]] = [
    ("llama-2-7b|llama-7b", "llama-2-7b"), ("llama-2-13b", "llama-2-13b"), ("llama-2-70b|llama-70b", "llama-2-70b"),
    ("llama-3.1-8b", "llama-3.1-8b"), ("llama-3.[13]-70b", "llama-3.1-70b"), ("405b", LLAMA_405B),
    ("qwen3-8b", "qwen3-8b"), ("qwen3-30b", "qwen3-30b-a3b"), ("qwen3-235b", QWEN3_235B),
    ("mixtral-8x7b", "mixtral-8x7b"), ("internlm-20b", INTERNLM_20B), ("gpt-j", "gpt-j-6b"),
]  # fmt: skip
GPUS = (("h200", "h200"), ("h100", "h100-sxm"), ("a100", "a100-80gb-sxm"), ("l40s", "l40s"), ("a10g", "a10g"))
PRECISIONS = {"fp8": "fp8", "fp16": "none", "bf16": "none", "int8": "w8a8"}
STATIC = ("lmdeploy", "TensorRT-LLM", "vLLM Mixtral")  # all requests of a batch start together
FULL_SHARE = 0.95  # of the memory, where a table says only that the engine was loaded until it was full
MOST = 2048  # requests at once that such engines were built for


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: seconds, or tokens per second, at `concurrency`; requests arrive together where `together`."""

    source: str
    label: str
    architecture: Architecture
    gpu: GpuFacts
    settings: Resolved
    concurrency: int
    together: bool
    kind: Kind
    value: float


def read_rows(files: list[Path], c: Constants) -> list[Row]:
    """Those that are told whole enough, of engines with their own kernels, on GPUs and with weights that we know, and
    that the cache could hold."""
    found: list[Row] = []
    for file in files:
        with file.open(newline="") as stream:
            for given in csv.DictReader(stream):
                found += _rows(given, c)
    return found


@cache
def _architecture(name: str) -> Architecture | None:
    for pattern, model in MODELS:
        if re.search(pattern, name, re.IGNORECASE):
            return catalogue()[model].architecture if isinstance(model, str) else architecture_of(model)
    return None


def _rows(given: dict[str, str], c: Constants) -> list[Row]:
    architecture = _architecture(given["model"])
    gpu = next((ours for word, ours in GPUS if word in given["gpu"].lower()), None)
    method = PRECISIONS.get(given["precision"].lower())
    lengths = given["input_len"].isdigit() and given["output_len"].isdigit() and given["tensor_parallel"].isdigit()
    if architecture is None or gpu is None or method is None or not lengths or "transformers" in given["engine"]:
        return []
    ways, into, out = int(given["tensor_parallel"]), int(given["input_len"]), int(given["output_len"])
    box = make_box("measured", {"gpu": gpu, "gpus": max(1, int(given["n_gpus"] or ways))})
    if method == "fp8" and box.facts is not None and not box.facts.fp8_tflops:
        return []
    # their FP8 checkpoints keep keys and values in FP8 too
    cached = "fp8" if method == "fp8" and "vllm" not in given["engine"].lower() else "auto"
    settings = Settings(
        quantization=method,
        kv_cache_dtype=cached,
        tensor_parallel_size=ways,
        max_model_len=into + out,
        gpu_memory_utilization=FULL_SHARE,
        enable_prefix_caching=False,
        enforce_eager="eager" in given["engine"],
        input_len=into,
        output_len=out,
    )
    r = resolve(architecture, box, settings)
    assert box.facts is not None
    room = _room(architecture, box.facts, r, c)
    told = given["concurrency_or_batch"]
    count = min(room, MOST) if told == "saturated" else int(told) if told.isdigit() else 0
    if not 0 < count <= room:
        return []
    return [
        Row(given["source"], _label(given, count), architecture, box.facts, r, count,
            given["source"].startswith(STATIC) and told != "saturated", kind, value)
        for kind, value in _figures(given, count)
    ]  # fmt: skip


def _room(architecture: Architecture, gpu: GpuFacts, r: Resolved, c: Constants) -> int:
    """Requests that the cache holds."""
    cache = make_cache(architecture, r, [footprint(architecture, gpu, r, c, 0).cache])
    return sequences(cache.blocks, r.input_len + r.output_len, architecture, r)


def _figures(given: dict[str, str], count: int) -> list[tuple[Kind, float]]:
    """The throughput where it is told, which averages over everything; else the time per token; the first token's."""
    found: list[tuple[Kind, float]] = []
    first, each = _number(given["ttft_ms"]), _number(given["tpot_ms"])
    # of several only where they arrive spread out, and not all at once as most benchmarks send them
    if first and (count == 1 or given["source"] == "NVIDIA NIM"):
        found.append(("first_token", first / 1000))
    speed = _number(given["output_tok_s"])
    if speed:
        found.append(("tokens_per_s", speed))
    elif each:
        found.append(("per_token", each / 1000))
    return found


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text or "") else None


def _label(given: dict[str, str], count: int) -> str:
    ways = f" tp{given['tensor_parallel']}" if given["tensor_parallel"] != "1" else ""
    lengths = f"{given['input_len']}/{given['output_len']}"
    return f"{given['model']} {given['precision']} {given['gpu']}{ways} {lengths} x{count}, {given['engine']}"
