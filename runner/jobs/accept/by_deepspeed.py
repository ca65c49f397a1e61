"""deepspeed.json -> what DeepSpeed's own config class says of it, for the data parallel ranks it is meant for."""

import json
from pathlib import Path
from typing import Any

import deepspeed.comm
from accept.answers import problems_of
from deepspeed.runtime.config import DeepSpeedConfig


def check_deepspeed(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """The config asks the launcher for the ranks; nothing is launched here."""
    file = folder / "deepspeed.json"
    if not file.exists():
        return []
    deepspeed.comm.get_rank, deepspeed.comm.get_world_size = (lambda: 0), (lambda: ranks)
    try:
        DeepSpeedConfig(json.loads(file.read_text()))
    except Exception as error:
        return problems_of("DeepSpeed", error, ["deepspeed"])
    return []
