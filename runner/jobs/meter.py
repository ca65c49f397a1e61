"""What a training rank tells while it trains: reports to metrics.jsonl, and what it measured to measured/.

The trainer prints its metrics without the step they belong to; a callback has both. One line per report:
`{"step": 3, "max_steps": 40, "epoch": 0.1, "time": 1732450000.0, "loss": 7.1, ...}`, time in Unix seconds.

Each rank leaves `measured/rank-0.json`: peaks in GiB (of torch's allocator where there is a GPU, and of the process),
the median seconds of an optimizer step without the first two, and the tokens per second that this GPU went through.

A later stage of the same run says its `part`: its metrics are `part/loss` and the like, its file is
`measured/part-rank-0.json`, so that the figures of the first stage, which is the one that is planned, stay apart.
"""

import atexit
import errno
import json
import os
import resource
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers.trainer
from transformers.trainer_callback import TrainerCallback

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
        rotate_safely()

    def write(self, state: Any, values: dict[str, Any]) -> None:
        if not state.is_world_process_zero:
            return
        at = {"step": state.global_step, "max_steps": state.max_steps, "epoch": state.epoch}
        part = self.meter.part
        named = {f"{part}/{key}" if part and key != "event" else key: value for key, value in {**at, **values}.items()}
        with self.file.open("a") as out:
            out.write(json.dumps({"time": time.time(), **named}) + "\n")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(state, {"event": "begin"})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        numbers = {k: v for k, v in ((k, _number(v)) for k, v in (logs or {}).items()) if v is not None}
        self.write(state, numbers | self.meter.brief())

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(state, {"event": "save"})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write(state, {"event": "end"})


def rotate_safely() -> None:
    """An older checkpoint is removed only once the newest one is on the disk, and the newest is that of the most steps.
    transformers 5.16 removes it while the new one may still be in the kernel's memory alone, so that a loss of power
    takes both, and goes by the files' times, so that with a clock set back the new one is what it removes."""
    original = transformers.trainer.rotate_checkpoints
    if getattr(original, "safely", False):
        return

    def rotate(output_dir: str, save_total_limit: int | None = None, **more: Any) -> None:
        saved = [(int(f.name[11:]), f) for f in Path(output_dir).glob("checkpoint-*") if f.name[11:].isdigit()]
        if save_total_limit and len(saved) > save_total_limit:
            flush(max(saved)[1])
        original(output_dir, save_total_limit, **more | {"use_mtime": False})

    rotate.safely = True  # type: ignore[attr-defined]
    transformers.trainer.rotate_checkpoints = rotate


def flush(folder: Path) -> None:
    """Returns when the disk has all files of a folder, and the folder itself."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        held = os.open(path, os.O_RDONLY)
        try:
            os.fsync(held)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some file systems of networks can't sync a folder
                raise
        finally:
            os.close(held)


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

    def __init__(self, ways: int = 1, part: str = "") -> None:
        self.ways = ways  # ranks that share each sequence
        self.part = part  # of a run's later stages
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
        if torch.cuda.is_available():
            self.allocated = max(self.allocated, torch.cuda.max_memory_allocated())
            self.reserved = max(self.reserved, torch.cuda.max_memory_reserved())

    def brief(self) -> dict[str, float]:
        """What goes with every report of rank 0."""
        self.look()
        self.resident = max(self.resident, resident_peak())  # the kernel keeps this peak: no need to ask each step
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
        write_measured(f"{self.part}-rank-{self.rank}.json".removeprefix("-"), found)

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


def write_measured(name: str, found: dict[str, Any]) -> None:
    """What a rank measured, whole or not at all."""
    folder = metrics_file().resolve().parent / MEASURED
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.with_suffix(".part").write_text(json.dumps(found) + "\n")
    file.with_suffix(".part").replace(file)


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
