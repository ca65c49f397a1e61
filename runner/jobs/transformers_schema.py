"""Runs in Axolotl's environment: prints the JSON Schema of TrainingArguments' fields, as this transformers has them.

What the runner sets itself, and what needs an account or hardware that no recipe is for, is left out; giving such a key
is then an unknown one.
"""

import dataclasses
import enum
import json
import sys
import types
import typing
from typing import Any

import transformers
from transformers import TrainingArguments

OUT = {
    "output_dir", "do_train", "do_eval", "do_predict", "resume_from_checkpoint", "local_rank", "use_cpu",  # the job's
    "disable_tqdm", "log_level", "log_level_replica", "log_on_each_node", "remove_unused_columns", "label_names",
    "run_name", "project", "push_to_hub", "enable_jit_checkpoint",  # the runner records
    "restore_callback_states_from_checkpoint", "save_on_each_node", "skip_memory_metrics", "debug",
    "parallelism_config", "accelerator_config", "fsdp", "fsdp_config", "deepspeed", "ddp_backend",
    "eval_use_gather_object", "batch_eval_metrics", "include_for_metrics", "prediction_loss_only",
    "eval_do_concat_batches", "length_column_name", "use_cache",
}  # fmt: skip
PREFIXES = ("hub_", "trackio_", "dataloader_multiprocessing")
SCALARS = {int: "integer", float: "number", bool: "boolean", str: "string", dict: "object", list: "array"}
# keys that transformers types as plain text, though only these words mean something
WORDS = {"train_sampling_strategy": ["random", "sequential", "group_by_length"]}
# the engine has no bounds of its own for these, and counts or divides by nonsense
BOUNDS: dict[tuple[str, ...], dict[str, float]] = {
    (
        "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps",
        "eval_accumulation_steps", "save_total_limit", "torch_empty_cache_steps",
    ): {"minimum": 1},
    ("logging_steps", "save_steps", "eval_steps", "num_train_epochs", "adam_epsilon"): {"exclusiveMinimum": 0},
    (
        "warmup_steps", "weight_decay", "max_grad_norm", "eval_delay", "dataloader_num_workers", "seed", "data_seed",
    ): {"minimum": 0},
    ("adam_beta1", "adam_beta2", "label_smoothing_factor"): {"minimum": 0, "exclusiveMaximum": 1},
    ("max_steps",): {"minimum": -1},
}  # fmt: skip


def schema_of(kind: Any) -> dict[str, Any]:
    """An annotation as JSON Schema: unions as `anyOf`, enums by their values; text beside an enum says nothing more."""
    if isinstance(kind, str):
        kind = {"None": type(None)}.get(kind, str)
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        enums = [k for k in inside if isinstance(k, type) and issubclass(k, enum.Enum)]
        kept = [k for k in inside if not (enums and k is str)]
        kept = [k for k in kept if not (dict in kept and k is str)]  # JSON in text, for the command line
        kept = [k for k in kept if not (any(typing.get_origin(o) is dict for o in kept) and k is str)]
        return {"anyOf": [schema_of(k) for k in kept]} if len(kept) > 1 else schema_of(kept[0])
    if kind is type(None):
        return {"type": "null"}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    base = origin or kind
    found: dict[str, Any] = {"type": SCALARS[base]}
    if base is list and inside:
        found["items"] = schema_of(inside[0])
    if base is dict:
        found["additionalProperties"] = True
    return found


def main() -> None:
    properties = {}
    for field in dataclasses.fields(TrainingArguments):
        if not field.init or field.name in OUT or field.name.startswith(PREFIXES):
            continue
        found = schema_of(field.type)
        if field.name in WORDS:
            found["enum"] = WORDS[field.name]
        for names, bounds in BOUNDS.items():
            if field.name in names:
                (found["anyOf"][0] if "anyOf" in found else found).update(bounds)
        default = field.default
        if default is not dataclasses.MISSING and default is not None:
            found["default"] = default.value if isinstance(default, enum.Enum) else default
        # `null` takes a key away, in a profile or by `--set`
        options = found.pop("anyOf", None) or [{k: found.pop(k) for k in list(found) if k != "default"}]
        properties[field.name] = {"anyOf": [*(o for o in options if o != {"type": "null"}), {"type": "null"}], **found}
    json.dump({"version": transformers.__version__, "schema": {"properties": properties, "$defs": {}}}, sys.stdout)


if __name__ == "__main__":
    main()
