"""text-generation-inference, archived by its makers in March 2026: `text-generation-launcher`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import quiet
from runner.engines.serving.translate import translated
from runner.facts.boxes import Box

# https://huggingface.co/docs/text-generation-inference/reference/launcher
FLAGS = {
    "revision": "--revision",
    "dtype": "--dtype",
    "quantization": "--quantize",
    "kv_cache_dtype": "--kv-cache-dtype",
    "tensor_parallel_size": "--num-shard",
    "max_model_len": "--max-total-tokens",
    "max_num_seqs": "--max-concurrent-requests",
    "max_num_batched_tokens": "--max-batch-prefill-tokens",
    "gpu_memory_utilization": "--cuda-memory-fraction",
    "trust_remote_code": "--trust-remote-code",
}
UNDERSTOOD = frozenset({*FLAGS, "lora_modules"})


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["text-generation-launcher", "--model-id", str(values["model"]), "--hostname", host, "--port", str(port)]
    if modules := values.get("lora_modules"):
        words += ["--lora-adapters", ",".join(f"{m['name']}={m['path']}" for m in modules)]
    return [*words, *translated(values, FLAGS)]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
