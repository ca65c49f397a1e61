"""What a run tells while it goes on: log.txt and metrics.jsonl, read as they grow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.record import LOG, METRICS, read_metrics
from runner.redact import LogMask


@dataclass(slots=True)
class Progress:
    """Where a run stands. `step` and `max_steps` are the trainer's; `part` is the step of launch.sh."""

    part: str = "start"
    step: int = 0
    max_steps: int = 0
    loss: float | None = None
    tokens_per_s: float | None = None
    seconds: float = 0.0


Watch = Callable[[Progress], None]


class Follower:
    """Reads what is new in log.txt and metrics.jsonl since the last look, and masks secrets in the log.

    `heard` is when something last came of it, `stepped` when a training step last did (None before the first, and
    after the last), `longest` the longest that a step has come after another; by time.monotonic().
    """

    def __init__(self, run: Path, watch: Watch, environment: Mapping[str, str]) -> None:
        self.run, self.watch = run, watch
        self.started = self.heard = time.monotonic()
        self.stepped: float | None = None
        self.longest = 0.0
        # held open: somebody may remove the log meanwhile
        self.log = (run / LOG).open("rb")
        self.log_start = self.log.seek(0, 2)
        self.rest = b""
        self.mask = LogMask(run / LOG, environment, self.log_start)
        _, self.metrics_at = read_metrics(run)
        self.progress = Progress()
        self.parts: list[tuple[str, float]] = []

    def look(self) -> None:
        elapsed = time.monotonic() - self.started
        with suppress(FileNotFoundError):  # it comes back, masked, at the end
            self.mask.look()
        for line in self._new_lines():
            if line.startswith("=== "):
                self.progress.part = line[4:].strip()
                self.parts.append((self.progress.part, elapsed))
                self.stepped = None
        rows, self.metrics_at = read_metrics(self.run, self.metrics_at)
        for row in rows:
            self._take(row)
        self.progress.seconds = elapsed
        self.watch(self.progress)

    def close(self) -> None:
        """Put the log back where somebody has removed it."""
        with self.log:
            if not (self.run / LOG).exists():
                self.log.seek(0)
                with (self.run / LOG).open("wb") as again:
                    shutil.copyfileobj(self.log, again)

    def _new_lines(self) -> Iterator[str]:
        block = self.log.read()
        self.heard = time.monotonic() if block else self.heard
        lines = (self.rest + block).split(b"\n")
        self.rest = lines.pop()
        yield from (line.decode("utf-8", "replace") for line in lines)

    def _take(self, row: dict[str, Any]) -> None:
        row = {key.removeprefix(f"{self.progress.part}/"): value for key, value in row.items()}  # of a later stage
        self.heard = time.monotonic()
        if row.get("event") == "end":
            self.stepped = None
        elif int(row.get("step", 0)) > self.progress.step and "event" not in row:
            self.longest = max(self.longest, self.heard - self.stepped) if self.stepped else self.longest
            self.stepped = self.heard
        self.progress.step = int(row.get("step", self.progress.step))
        self.progress.max_steps = int(row.get("max_steps", self.progress.max_steps))
        if "loss" in row:
            self.progress.loss = float(row["loss"])
        for key in ("tokens/train_per_sec_per_gpu", "tokens_per_second_per_gpu"):
            if key in row:
                self.progress.tokens_per_s = float(row[key])

    def durations(self, end: float) -> dict[str, float]:
        ends = [at for _, at in self.parts[1:]] + [end]
        return {name: round(stop - at, 3) for (name, at), stop in zip(self.parts, ends, strict=False) if name != "done"}


def mend_metrics(run: Path) -> None:
    """End the line that a killed process was writing, or the next report would be lost in it."""
    with suppress(FileNotFoundError), (run / METRICS).open("r+b") as file:
        if size := file.seek(0, 2):
            file.seek(size - 1)
            if file.read() != b"\n":
                file.write(b"\n")
