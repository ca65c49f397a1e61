"""An Axolotl plugin that writes what the trainer reports to metrics.jsonl, what each rank measured to measured/, and
lets CPU ranks find each other.

The trainer prints its metrics without the step they belong to; a callback has both. One line per report:
`{"step": 3, "max_steps": 40, "epoch": 0.1, "time": 1732450000.0, "loss": 7.1, ...}`, time in Unix seconds.

Each rank leaves `measured/rank-0.json`: peaks in GiB (of torch's allocator where there is a GPU, and of the process),
the median seconds of an optimizer step without the first two, and the tokens per second that this GPU went through.
"""

import atexit
import json
import math
import os
import resource
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from axolotl.integrations.base import BasePlugin
from pydantic import BaseModel
from shards import BadShards, Shards
from transformers import TrainerCallback

METRICS = "metrics.jsonl"
MEASURED = "measured"
GIB = 2**30
# kernels are compiled and memory is gathered in the first steps
WARM_UP_STEPS = 2
# how often a rank writes what it has measured while it trains
WRITE_EVERY_S = 20.0


def metrics_file() -> Path:
    return Path(os.environ.get("RUNNER_METRICS", METRICS))


class MetricsCallback(TrainerCallback):  # type: ignore[misc]
    def __init__(self, meter: "Meter") -> None:
        self.file = metrics_file()
        self.meter = meter

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
        self.write(state, numbers | self.meter.brief())

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


class Meter(TrainerCallback):  # type: ignore[misc]
    """Times optimizer steps, counts the tokens of each micro batch, and follows peaks, on every rank.

    Axolotl resets torch's peaks with each of its logs, so the largest that was seen is kept here.
    """

    def __init__(self, ways: int) -> None:
        self.ways = ways  # ranks that share each sequence
        self.rank = int(os.environ.get("RANK", 0))
        self.began: float | None = None
        self.tokens = 0  # positions, padding included: what is computed
        self.filled: Any = 0  # of these without padding; stays on the GPU, so that counting waits for nothing
        self.counted = 0
        self.seconds: list[float] = []
        self.positions: list[int] = []
        self.allocated = self.reserved = self.resident = 0
        self.written = 0.0
        self.process = os.getpid()
        atexit.register(self.save)  # the final save, after training, may hold the most memory

    def watch(self, trainer: Any) -> None:
        """Count what `_prepare_inputs` gives to each micro batch. A hook on the model would split a compiled one."""
        prepare = trainer._prepare_inputs

        def counted(inputs: Any) -> Any:
            prepared = prepare(inputs)
            if trainer.model.training and isinstance(prepared, Mapping):
                positions, filled = count(prepared)
                self.tokens += positions
                self.filled = self.filled + filled
            return prepared

        trainer._prepare_inputs = counted

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.began is None:
            self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        if self.began is not None:
            self.seconds.append(now - self.began)
            self.positions.append(self.tokens - self.counted)
        self.began, self.counted = now, self.tokens
        self.look()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if time.monotonic() - self.written > WRITE_EVERY_S:
            self.save()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began, self.counted = time.perf_counter(), self.tokens  # no part of a step

    on_save = on_evaluate

    def look(self) -> None:
        self.resident = max(self.resident, resident_peak())
        if torch.cuda.is_available():
            self.allocated = max(self.allocated, torch.cuda.max_memory_allocated())
            self.reserved = max(self.reserved, torch.cuda.max_memory_reserved())

    def brief(self) -> dict[str, float]:
        """What goes with every report of rank 0."""
        self.look()
        found = {"peak_rss_gib": self.resident / GIB}
        if self.allocated:
            found |= {"peak_allocated_gib": self.allocated / GIB, "peak_reserved_gib": self.reserved / GIB}
        if self.seconds:
            found["step_s"] = self.seconds[-1]
        return {name: round(value, 4) for name, value in found.items()}

    def save(self) -> None:
        if os.getpid() != self.process:  # a worker that was forked from a rank
            return
        self.written = time.monotonic()
        seconds, positions = self.seconds[WARM_UP_STEPS:], self.positions[WARM_UP_STEPS:]
        took = sum(seconds)
        found = self.brief() | {
            "rank": self.rank,
            "steps": len(self.seconds),
            "step_s": round(statistics.median(seconds), 5) if seconds else None,
            "tokens_per_s": round(sum(positions) / took / self.ways, 2) if took and sum(positions) else None,
            "tokens": self.tokens,
            "filled": self.share_filled(),
        }
        folder = metrics_file().resolve().parent / MEASURED
        folder.mkdir(exist_ok=True)
        file = folder / f"rank-{self.rank}.json"
        file.with_suffix(".part").write_text(json.dumps(found) + "\n")
        file.with_suffix(".part").replace(file)

    def share_filled(self) -> float | None:
        try:
            return round(float(self.filled) / self.tokens, 4) if self.tokens else None
        except RuntimeError:  # after a CUDA error nothing comes back from the GPU
            return None


def count(inputs: Mapping[str, Any]) -> tuple[int, Any]:
    """Token positions of a micro batch that the model learns from, and how many of them are no padding.

    GRPO's batches have prompts and completions apart; TRL's preference pairs have the prompt alone as well, and KTO
    the pairs of its KL estimate, for which nothing is learned.
    """
    names = [k for k in inputs if k.endswith("input_ids") and not k.startswith(("prompt_", "KL_", "ref_"))]
    names = names or [k for k in ("prompt_ids", "completion_ids") if k in inputs]
    positions, filled = 0, 0
    for name in names:
        ids = inputs[name]
        if not torch.is_tensor(ids):
            continue
        mask = inputs.get(name.replace("input_ids", "attention_mask").replace("_ids", "_mask"))
        positions += ids.numel()
        whole = torch.is_tensor(mask) and mask.shape == ids.shape
        filled = filled + ((mask != 0).sum().detach() if whole else ids.numel())
    return positions, filled


def resident_peak() -> int:
    """Bytes that this process has held at most, within a few pages. What getrusage says is never less than what the
    process it was forked from held; the kernel's own mark for this program is kept apart."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class RunnerArgs(BaseModel):  # type: ignore[misc]
    """What Axolotl's config may say to this plugin: the folder of prepared shards to train on."""

    prepared: str | None = None


class RunnerPlugin(BasePlugin):  # type: ignore[misc]
    def get_input_args(self) -> str:
        return "axolotl_plugin.RunnerArgs"

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> Any:
        """Prepared shards in place of `datasets`, read where they lie: nothing is tokenized or copied."""
        if not cfg.prepared:
            return None
        from axolotl.common.datasets import TrainDatasetMeta  # as late as Axolotl itself does: it takes seconds

        train = Shards(cfg.prepared, "train", cfg.sequence_len)
        batch = cfg.micro_batch_size * cfg.gradient_accumulation_steps * max(1, int(os.environ.get("WORLD_SIZE", 1)))
        batch //= (cfg.context_parallel_size or 1) * (cfg.tensor_parallel_size or 1)
        if len(train) < batch:
            raise BadShards(
                f"{cfg.prepared}: {train.tokens:,} tokens make {len(train):,} rows of {cfg.sequence_len:,}, and one "
                f"step takes {batch:,}; prepare more text, or lower `sequence_len` or the batch"
            )
        steps = cfg.max_steps or math.ceil(len(train) * (cfg.num_epochs or 1) / batch)
        held = Shards(cfg.prepared, "validation", cfg.sequence_len) if cfg.test_datasets else None
        if held is not None and not len(held):
            raise BadShards(
                f"{cfg.prepared}: the validation split has {held.tokens:,} tokens, less than one row of "
                f"{cfg.sequence_len:,}; prepare it with a larger validation share"
            )
        return TrainDatasetMeta(train, held, steps)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        meter = Meter((cfg.context_parallel_size or 1) * (cfg.tensor_parallel_size or 1))
        meter.watch(trainer)
        return [meter, MetricsCallback(meter)]


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
