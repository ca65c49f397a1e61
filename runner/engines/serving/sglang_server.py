"""SGLang: `python -m sglang.launch_server`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving import served_name
from runner.engines.serving.argv import quiet
from runner.engines.serving.translate import translated
from runner.facts.boxes import Box

# https://docs.sglang.io/advanced_features/server_arguments.html
FLAGS = {
    "tokenizer": "--tokenizer-path",
    "revision": "--revision",
    "dtype": "--dtype",
    "quantization": "--quantization",
    "kv_cache_dtype": "--kv-cache-dtype",
    "tensor_parallel_size": "--tp-size",
    "pipeline_parallel_size": "--pp-size",
    "max_model_len": "--context-length",
    "max_num_seqs": "--max-running-requests",
    "max_num_batched_tokens": "--chunked-prefill-size",
    "gpu_memory_utilization": "--mem-fraction-static",
    "chat_template": "--chat-template",
    "trust_remote_code": "--trust-remote-code",
    "seed": "--random-seed",
    "max_lora_rank": "--max-lora-rank",
}
UNDERSTOOD = frozenset({*FLAGS, "lora_modules", "served_model_name"})


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["python", "-m", "sglang.launch_server", "--model-path", str(values["model"])]
    words += ["--host", host, "--port", str(port), "--served-model-name", served_name(values, name)]
    if modules := values.get("lora_modules"):
        words += ["--enable-lora", "--lora-paths", *(f"{m['name']}={m['path']}" for m in modules)]
    return [*words, *translated(values, FLAGS)]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
