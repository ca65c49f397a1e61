"""An Axolotl plugin that writes what the trainer reports to metrics.jsonl, and lets CPU ranks find each other.

The trainer prints its metrics without the step they belong to; a callback has both. One line per report:
`{"step": 3, "max_steps": 40, "epoch": 0.1, "time": 1732450000.0, "loss": 7.1, ...}`, time in Unix seconds.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback

METRICS = "metrics.jsonl"


class MetricsCallback(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.file = Path(os.environ.get("RUNNER_METRICS", METRICS))

    def write(self, state: Any, values: dict[str, Any]) -> None:
        if not state.is_world_process_zero:
            return
        at = {"step": state.global_step, "max_steps": state.max_steps, "epoch": state.epoch, "time": time.time()}
        with self.file.open("a") as out:
            out.write(json.dumps({**at, **values}) + "\n")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        name_base(kwargs.get("model"))
        self.write(state, {"event": "begin"})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        numbers = {k: v for k, v in ((k, _number(v)) for k, v in (logs or {}).items()) if v is not None}
        self.write(state, numbers)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(state, {"event": "save"})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(state, {"event": "end"})


def _number(value: Any) -> float | int | None:
    """Axolotl rounds some metrics into text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


class RunnerPlugin(BasePlugin):  # type: ignore[misc]
    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        return [MetricsCallback()]


def name_base(model: Any) -> None:
    """An adapter names its base; a link inside the run would mean nothing to whoever loads it from elsewhere."""
    model = getattr(model, "module", model)
    for config in getattr(model, "peft_config", {}).values():
        base = config.base_model_name_or_path
        if base and Path(base).is_symlink():
            config.base_model_name_or_path = str(Path(base).resolve())


def _cpu_ranks() -> bool:
    """Started by torchrun on a machine without a GPU: a sharded recipe in smoke."""
    return "LOCAL_RANK" in os.environ and not torch.cuda.is_available()


def _gloo_as_backend() -> None:
    """DeepSpeed on CPU asks Accelerate for a backend that this torch build lacks, and Accelerate then counts one
    process; gloo is in every build."""
    original = PartialState._prepare_backend

    def prepare(self: Any, *args: Any, **kwargs: Any) -> Any:
        backend, kind = original(self, *args, **kwargs)
        return ("gloo" if backend in (None, "ccl", "mpi") else backend), kind

    PartialState._prepare_backend = prepare


def _gather_without_grad() -> None:
    """ZeRO-1 and -2 gather updated weights in place; gloo does that through views, which autograd forbids unless it is
    off. NCCL has no such views, so nothing of the GPU path is hidden by this."""
    from deepspeed.runtime.zero import stage_1_and_2

    stage_1_and_2.all_gather_dp_groups = torch.no_grad()(stage_1_and_2.all_gather_dp_groups)


def _load_on_cpu() -> None:
    """Weights are loaded onto the device of the rank's number, and a CPU has no such device. (ZeRO-3 places them
    itself and takes no map.)"""
    from transformers import modeling_utils
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    original = modeling_utils.check_and_set_device_map

    def check_and_set_device_map(device_map: Any) -> Any:
        return original(None if is_deepspeed_zero3_enabled() else "cpu")

    modeling_utils.check_and_set_device_map = check_and_set_device_map


if _cpu_ranks():
    _load_on_cpu()
    _gloo_as_backend()
    _gather_without_grad()
