"""Runs in Axolotl's environment: asks Axolotl's and DeepSpeed's own validators about rendered folders.

`accept.py FOLDER...` prints one JSON line a folder: `{"folder": ..., "error": null}` or what the validator said. The
capabilities are those of two H100s; nothing is trained and no GPU is needed.
"""

import json
import os
import sys
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


def check(folder: Path) -> str | None:
    os.chdir(folder)
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
    sharded = folder / "deepspeed.json"
    if sharded.exists():
        try:
            DeepSpeedConfig(json.loads(sharded.read_text()))
        except Exception as error:
            return f"deepspeed: {error}"
    return None


def main() -> None:
    # the config asks the launcher how many ranks there are; nothing is launched here
    deepspeed.comm.get_rank, deepspeed.comm.get_world_size = (lambda: 0), (lambda: RANKS)
    for name in sys.argv[1:]:
        folder = Path(name).resolve()
        error: Any = check(folder)
        print("ACCEPT " + json.dumps({"folder": name, "error": error}), flush=True)


if __name__ == "__main__":
    main()
