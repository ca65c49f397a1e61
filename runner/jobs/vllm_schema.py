"""Runs in vLLM's environment: prints the JSON Schema of `vllm serve`'s arguments, as its own parser has them.

Keys are the parser's destinations (`max_model_len`), types those that it converts to. What the runner sets itself, and
secrets, which never stand in a recipe, are left out.
"""

import argparse
import contextlib
import enum
import io
import json
import os
import sys
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1", VLLM_LOGGING_LEVEL="ERROR")

OUT = {
    "help", "model_tag", "config", "api_key", "hf_token", "uds",
    "model", "host", "port", "served_model_name", "lora_modules",  # the kind's own, in data/kinds/serve.yaml
    "headless", "grpc", "grpc_port", "node_rank", "master_addr", "master_port", "nnodes",  # one node, one server
    "data_parallel_rank", "data_parallel_start_rank", "data_parallel_size_local", "data_parallel_address",
    "data_parallel_rpc_port",
}  # fmt: skip
SCALARS = {int: "integer", float: "number", str: "string"}
# functions of vLLM's that read an argument -> the types that a recipe may give
READERS: dict[str, list[str]] = {
    "loads": ["object"], "parse_dataclass": ["object"], "union_dict_and_str": ["object", "string"],
    # `32k` and `auto` too on a command line; a recipe says the number, which the plan reckons with
    "human_readable_int": ["integer"], "human_readable_int_or_auto": ["integer"],
}  # fmt: skip
# read by a function without a name of its own
NAMED = {
    "device_ids": ["string"], "moe_backend": ["string"], "linear_backend": ["string"],
    "sparse_indexer_topk_backend": ["string"], "optimization_level": ["integer", "string"],
}  # fmt: skip
JSON_LISTS = {"allowed_origins", "allowed_methods", "allowed_headers"}
# the engine has no bounds of its own for these, and counts or divides by nonsense
BOUNDS: dict[tuple[str, ...], dict[str, float]] = {
    (
        "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "max_num_seqs", "max_loras",
        "block_size", "api_server_count", "max_num_batched_tokens", "max_model_len",
    ): {"minimum": 1},
    ("gpu_memory_utilization",): {"exclusiveMinimum": 0, "maximum": 1},
    ("shutdown_timeout", "cpu_offload_gb", "max_logprobs"): {"minimum": -1},
}  # fmt: skip
GONE_SOON = {"log_config_file", "disable_cascade_attn"}
# words that the parser takes as plain text and the engine refuses; filled by main
WORDS: dict[str, list[str]] = {}


def inner(kind: Any) -> Any:
    """What vLLM's `optional_type` and `parse_type` wrap."""
    while getattr(kind, "__name__", "") in ("_optional_type", "_parse_type"):
        kind = kind.__closure__[0].cell_contents
    return kind


def types_of(action: argparse.Action) -> list[str]:
    if isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0:
        return ["boolean"]
    if action.dest in JSON_LISTS:
        return ["array"]
    kind = inner(action.type)
    if action.dest in NAMED or kind is None:
        return NAMED.get(action.dest, ["string"])
    if kind in SCALARS:
        return [SCALARS[kind]]
    return READERS[kind.__name__]


def schema_of(action: argparse.Action) -> dict[str, Any]:
    found: dict[str, Any] = {}
    choices = [c for c in WORDS.get(action.dest) or action.choices or () if c is not None]
    types = types_of(action)
    one: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    if choices:
        one["enum"] = choices
    for names, bounds in BOUNDS.items():
        if action.dest in names:
            one.update(bounds)
    several = action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction)
    options = [{"type": "array", "items": one}, one] if several else [one]
    # `null` takes a key away, in a profile or by `--set`
    found["anyOf"] = [*_apart(options), {"type": "null"}]
    default = action.default.value if isinstance(action.default, enum.Enum) else action.default
    if isinstance(default, (int, float, str)) and default != argparse.SUPPRESS:
        found["default"] = default
    if action.dest in GONE_SOON:
        found["deprecated"] = True
    return found


def _apart(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One type an option, as schema_build reads them."""
    found = []
    for option in options:
        types = option["type"] if isinstance(option["type"], list) else [option["type"]]
        for name in types:
            kept = {k: v for k, v in option.items() if name != "string" or k not in ("minimum", "maximum")}
            found.append({**kept, "type": name, **({"additionalProperties": True} if name == "object" else {})})
    return found


def main() -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # vLLM logs to standard output
        import vllm
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
        from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        actions = make_arg_parser(FlexibleArgumentParser())._actions
    WORDS["quantization"] = sorted(QUANTIZATION_METHODS)
    found = {action.dest: schema_of(action) for action in actions if action.dest not in OUT}
    version = vllm.__version__.partition("+")[0]
    json.dump({"version": version, "schema": {"properties": found, "$defs": {}}}, sys.stdout)


if __name__ == "__main__":
    main()
