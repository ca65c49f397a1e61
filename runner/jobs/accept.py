"""Runs in Axolotl's environment: asks Axolotl's and DeepSpeed's own validators about rendered folders.

`accept.py FOLDER...` prints one JSON line a folder: `{"folder": ..., "error": null}` or what the validator said. The
capabilities are those of two H100s; nothing is trained and no GPU is needed.

Axolotl's validator imports ring_flash_attn to see that it is there, and that imports kernels which no CPU can have.
Where it is missing the rest of such a config is validated as if it were not, and the line says so: `"assumed":
["ring_flash_attn"]`.
"""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import deepspeed.comm
import yaml
from axolotl.integrations.base import PluginManager
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from deepspeed.runtime.config import DeepSpeedConfig

GPUS = {"bf16": True, "fp8": True, "tf32": True, "n_gpu": 2, "compute_capability": "sm_90"}


RANKS = 2
# keys that Axolotl reads under one name and keeps under another
RENAMED = {f.alias for f in AxolotlInputConfig.model_fields.values() if f.alias} | {
    a
    for f in AxolotlInputConfig.model_fields.values()
    for a in getattr(f.validation_alias, "choices", [f.validation_alias])
}


RING = "ring_flash_attn"


def check(folder: Path) -> str | None:
    os.chdir(folder)
    if (folder / "pipeline.json").exists():
        return check_deepspeed(folder, RANKS // json.loads((folder / "pipeline.json").read_text())["stages"])
    config = DictDefault(yaml.safe_load((folder / "axolotl.yaml").read_text()))
    manager = PluginManager.get_instance()
    for plugin in config.plugins or []:
        manager.register(plugin)
    try:
        kept = validate_config(config, capabilities=GPUS, env_capabilities={"torch_version": "2.13.0"})
    except Exception as error:
        return f"axolotl: {error}"
    dropped = sorted(key for key in config if key not in kept and key not in RENAMED and config[key] is not None)
    if dropped:
        return f"axolotl drops {', '.join(dropped)}"
    return check_deepspeed(folder, RANKS)


def check_deepspeed(folder: Path, copies: int) -> str | None:
    """`copies` data parallel ranks, which the config asks the launcher for; nothing is launched here."""
    deepspeed.comm.get_rank, deepspeed.comm.get_world_size = (lambda: 0), (lambda: copies)
    sharded = folder / "deepspeed.json"
    if sharded.exists():
        try:
            DeepSpeedConfig(json.loads(sharded.read_text()))
        except Exception as error:
            return f"deepspeed: {error}"
    return None


def assumed(folder: Path) -> list[str]:
    """Libraries that the config needs, this machine can't have, and the validator is told to be there."""
    config = folder / "axolotl.yaml"
    given = yaml.safe_load(config.read_text()) if config.exists() else {}
    sys.modules.pop(RING, None)
    if (given.get("context_parallel_size") or 1) <= 1 or importlib.util.find_spec(RING):
        return []
    sys.modules[RING] = types.ModuleType(RING)
    return [RING]


def main() -> None:
    for name in sys.argv[1:]:
        folder = Path(name).resolve()
        missing = assumed(folder)
        error: Any = check(folder)
        print("ACCEPT " + json.dumps({"folder": name, "error": error, "assumed": missing}), flush=True)


if __name__ == "__main__":
    main()
