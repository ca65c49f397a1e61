"""vLLM: `vllm serve`, whose arguments are the serve keys in kebab-case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import DRAIN_S, base_name, option, quiet
from runner.facts.boxes import Box

# the runner's own keys, and those that the command line names in another way
OWN = frozenset(
    {
        "engine", "layout", "replicas", "api_key_file", "engine_args", "ready_timeout_s", "drain_s",
        "model", "host", "port", "served_model_name", "lora_modules", "input_len", "output_len", "request_rate",
    }
)  # fmt: skip
# flags that can only be set, not unset
SWITCHES = frozenset(
    {"headless", "grpc", "disable_log_stats", "aggregate_engine_logging", "data_parallel_multi_port_external_lb"}
)
# lists that are one argument, in JSON; `middleware` is given once for each
JSON_LISTS = frozenset({"allowed_origins", "allowed_methods", "allowed_headers"})
REPEATED = frozenset({"middleware"})
# of a processor: no graphs to capture, and not the 16 bits in which vLLM 0.32's attention takes AMX tiles, which Linux
# lets a process use only after it has asked: a short first request would end it with an illegal instruction
CPU_DEFAULTS: dict[str, Any] = {"dtype": "float32", "enforce_eager": True}
CPU_CACHE_GIB = 1


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    # on SIGTERM vLLM's own default of 0 waits for open streams without end
    given = {"shutdown_timeout": int(values.get("drain_s") or DRAIN_S), **({} if box.gpus else CPU_DEFAULTS)}
    given |= {**_adapters(values), **values}
    words = ["vllm", "serve", str(values["model"]), "--host", host, "--port", str(port)]
    names = values.get("served_model_name")
    words += ["--served-model-name", base_name(values, name), *(map(str, names[1:]) if isinstance(names, list) else ())]
    for key, value in given.items():
        if key not in OWN and value is not None:
            words += _words(key, value)
    if modules := values.get("lora_modules"):
        words += ["--lora-modules", *(json.dumps(module, sort_keys=True) for module in modules)]
    return words


def _adapters(values: Mapping[str, Any]) -> dict[str, Any]:
    """vLLM reads `--lora-modules` without a word where LoRA was not enabled, and serves the base alone."""
    modules = values.get("lora_modules")
    return {"enable_lora": True, "max_loras": len(modules)} if modules else {}


def _words(key: str, value: Any) -> list[str]:
    flag = option(key)
    if isinstance(value, bool):
        if value:
            return [flag]
        return [] if key in SWITCHES else [option(f"no_{key}")]
    if isinstance(value, dict) or key in JSON_LISTS:
        return [flag, json.dumps(value, sort_keys=True)]
    if key in REPEATED:
        return [word for each in value for word in (flag, str(each))]
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [flag, str(value)]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    found = {"VLLM_NO_USAGE_STATS": "1", **quiet(profile)}
    if not box.gpus:
        count = int(values.get("replicas") or 1)
        # `auto` binds a server to all cores but one, and another server to the very same ones
        shared = count > 1 or profile == "smoke"
        found |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind" if shared else "auto"}
        found |= {"OMP_NUM_THREADS": str(max(1, box.cores // count))} if shared else {}
        found |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE_GIB)}
    return found
