"""axolotl.yaml -> what Axolotl's `validate_config` says of it, and what it would drop; then DeepSpeed of its config.

A case says `gpus`, the capabilities of the GPUs that the config is meant for, and `ranks`, how many data parallel
processes DeepSpeed will see.

Axolotl's validator imports ring_flash_attn to see that it is there, and that imports kernels which no CPU can have.
Where it is missing the rest of such a config is validated as if it were not, and the answer says so.
"""

import importlib.util
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axolotl.utils.config
import yaml
from accept.answers import answer_all, problem, problems_of
from accept.by_deepspeed import check_deepspeed
from axolotl.integrations.base import PluginManager
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.enums import LEGACY_ATTN_FLAG_TO_IMPL

TORCH = "2.13.0"
RING = "ring_flash_attn"
# keys that Axolotl reads under one name and keeps under another
RENAMED = {f.alias for f in AxolotlInputConfig.model_fields.values() if f.alias} | {
    a
    for f in AxolotlInputConfig.model_fields.values()
    for a in getattr(f.validation_alias, "choices", [f.validation_alias])
}


# and those that it reads, and whose value it puts under another key
MOVED = {
    **dict.fromkeys(LEGACY_ATTN_FLAG_TO_IMPL, "attn_implementation"),
    "noisy_embedding_alpha": "neftune_noise_alpha",
    "pretrain_multipack_buffer_size": "streaming_multipack_buffer_size",
    "dpo_beta": "rl_beta",
    "dataset_processes": "dataset_num_proc",
    "gc_steps": "gc_collect_steps",
    "liger_swiglu": "liger_glu_activation",
}
_merge = axolotl.utils.config.merge_input_args
_merged: dict[tuple[str, ...], Any] = {}


def _merge_once() -> Any:
    """Axolotl makes its classes anew for each config with a plugin, which takes longer than all of the rest."""
    plugins = tuple(PluginManager.get_instance().get_input_args())
    if plugins not in _merged:
        _merged[plugins] = _merge()
    return _merged[plugins]


axolotl.utils.config.merge_input_args = _merge_once


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    if "axolotl.yaml" not in case["files"]:  # a pipeline, which DeepSpeed trains by itself
        return check_deepspeed(folder, case["ranks"]), []
    given = yaml.safe_load((folder / "axolotl.yaml").read_text())
    missing = _assumed(given)
    found = check_config(given, case["gpus"])
    return found or check_deepspeed(folder, case["ranks"]), missing


def check_config(given: dict[str, Any], gpus: dict[str, Any]) -> list[dict[str, Any]]:
    config = DictDefault(given)
    manager = PluginManager.get_instance()
    manager.plugins.clear()  # of the config before: its keys would be known in this one
    try:
        for plugin in config.plugins or []:
            manager.register(plugin)
        kept = validate_config(config, capabilities=gpus, env_capabilities={"torch_version": TORCH})
    except Exception as error:
        return problems_of("Axolotl", error, list(given))
    gone = [p for p in given.get("plugins") or [] if p not in manager.plugins]
    found = [
        problem("Axolotl", f"it can't load the plugin {name}, and goes on without it", ["plugins"]) for name in gone
    ]
    return found or [problem("Axolotl", "", [key], dropped=True) for key in _dropped(given, kept)]


def _dropped(given: dict[str, Any], kept: dict[str, Any]) -> Iterator[str]:
    """Keys that are gone without a word, dotted."""
    for key, value in given.items():
        if key not in RENAMED and MOVED.get(key) not in kept and not (key in LEGACY_ATTN_FLAG_TO_IMPL and not value):
            yield from _missing(key, value, kept.get(key))


def _missing(at: str, given: Any, kept: Any) -> Iterator[str]:
    if given is None:
        return
    if kept is None:
        yield at
    elif isinstance(given, dict) and isinstance(kept, dict):
        there = {str(key): value for key, value in kept.items()}
        for key, value in given.items():
            name = str(key).removeprefix("fsdp_") if at == "fsdp_config" else str(key)
            moved = name.startswith("message_field_") and "message_property_mappings" in there
            if name != "version" and not moved:
                yield from _missing(f"{at}.{key}", value, there.get(name))
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for i, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from _missing(f"{at}.{i}", one, other)


def _assumed(given: dict[str, Any]) -> list[str]:
    """Libraries that the config needs, this machine can't have, and the validator is told to be there."""
    sys.modules.pop(RING, None)
    size = given.get("context_parallel_size")
    if not isinstance(size, int) or size <= 1 or importlib.util.find_spec(RING):
        return []
    sys.modules[RING] = types.ModuleType(RING)
    return [RING]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    answer_all(check)
