"""TensorRT-LLM: `trtllm-serve`, by NVIDIA's own names for the same things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import quiet
from runner.engines.serving.translate import translated
from runner.facts.boxes import Box

# https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html
FLAGS = {
    "tokenizer": "--tokenizer",
    "tensor_parallel_size": "--tp_size",
    "pipeline_parallel_size": "--pp_size",
    "max_num_seqs": "--max_batch_size",
    "max_num_batched_tokens": "--max_num_tokens",
    "max_model_len": "--max_seq_len",
    "gpu_memory_utilization": "--kv_cache_free_gpu_memory_fraction",
    "trust_remote_code": "--trust_remote_code",
}
UNDERSTOOD = frozenset(FLAGS)


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    model = str(values["model"])
    return ["trtllm-serve", model, "--host", host, "--port", str(port), *translated(values, FLAGS, underscores=True)]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
