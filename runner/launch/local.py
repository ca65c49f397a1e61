"""launch.sh as processes of this machine: started in their own group, watched, and never left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from runner.launch.resident import Resident
from runner.record import LOG, read_metrics
from runner.redact import LogMask, mask_logs

POLL_S = 0.2
# in the environment of every process of a run
MARK = "RUNNER_RUN"
# how long a process group may take to end after SIGINT, then after SIGTERM, before it is killed
GRACE_S = (30.0, 10.0)


@dataclass(slots=True)
class Progress:
    """Where a run stands. `step` and `max_steps` are the trainer's; `part` is the step of launch.sh; `note` is what its
    scheduler says of it."""

    part: str = "start"
    step: int = 0
    max_steps: int = 0
    loss: float | None = None
    tokens_per_s: float | None = None
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: exit code, seconds of each part of launch.sh, and memory in GiB: the most that one process had
    resident, and the most that all had together in each part (empty where the system does not tell)."""

    code: int
    interrupted: bool
    seconds: float
    parts: dict[str, float]
    peak_rss_gib: float
    resident_gib: dict[str, float]
    # it goes on: nobody follows it any more
    detached: bool = False


Watch = Callable[[Progress], None]


def launch(run: Path, watch: Watch, *, environment: dict[str, str] | None = None) -> Ended:
    """Run `launch.sh` of a run directory to its end, its output going to log.txt.

    Secrets of the environment, and what looks like one, are masked in the log as it grows. Ctrl-C, SIGTERM and a closed
    terminal are passed on to the whole process group, which gets `GRACE_S` to end by itself.
    """
    started = time.monotonic()
    end_stragglers(run)  # of a runner that was killed and is now started again
    given = {**os.environ, **(environment or {}), MARK: str(run)}
    with (run / LOG).open("ab") as log, asked_to_stop() as asked:
        follower = Follower(run, log.tell(), watch, started, LogMask(run / LOG, given, log.tell()))
        process = subprocess.Popen(
            ["bash", "launch.sh"],
            cwd=run,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=given,
        )
        stopper, resident = _Stopper(process, asked), Resident(process.pid)
        try:
            while (usage := _usage(process)) is None:
                follower.look()
                resident.look(follower.progress.part)
                stopper.look()
                time.sleep(POLL_S)
        finally:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            end_stragglers(run)
            mask_logs(run, given)
        follower.look()
    seconds = time.monotonic() - started
    return Ended(
        code=process.returncode,
        interrupted=bool(asked),
        seconds=seconds,
        parts=follower.durations(seconds),
        peak_rss_gib=usage.ru_maxrss / 1024**2,
        resident_gib={part: held / 1024**3 for part, held in resident.peaks.items()},
    )


def _usage(process: subprocess.Popen[bytes]) -> resource.struct_rusage | None:
    """What the process and all it waited for have used; None while it runs. The kernel's figure for all children that
    ever were would count those of before."""
    ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if ended:
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage if ended else None


class Follower:
    """Reads what is new in log.txt and metrics.jsonl since the last look."""

    def __init__(self, run: Path, log_start: int, watch: Watch, started: float, mask: LogMask) -> None:
        self.run, self.watch, self.started, self.mask = run, watch, started, mask
        self.log_at = log_start
        _, self.metrics_at = read_metrics(run)
        self.progress = Progress()
        self.parts: list[tuple[str, float]] = []

    def look(self) -> None:
        elapsed = time.monotonic() - self.started
        self.mask.look()
        for line in self._new_lines():
            if line.startswith("=== "):
                self.progress.part = line[4:].strip()
                self.parts.append((self.progress.part, elapsed))
        rows, self.metrics_at = read_metrics(self.run, self.metrics_at)
        for row in rows:
            self._take(row)
        self.progress.seconds = elapsed
        self.watch(self.progress)

    def _new_lines(self) -> Iterator[str]:
        with (self.run / LOG).open("rb") as log:
            log.seek(self.log_at)
            block = log.read()
        whole = block.rfind(b"\n") + 1
        self.log_at += whole
        yield from block[:whole].decode("utf-8", "replace").splitlines()

    def _take(self, row: dict[str, Any]) -> None:
        row = {key.removeprefix(f"{self.progress.part}/"): value for key, value in row.items()}  # of a later stage
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


@contextmanager
def asked_to_stop() -> Iterator[list[float]]:
    """While inside, signals that would end us only add the time at which they came to the list that this yields."""
    asked: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(time.monotonic())

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup, and then the terminal may close
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stopper:
    """Passes a wish to stop on to the process group: SIGINT, SIGTERM when asked twice or too slow, then SIGKILL."""

    def __init__(self, process: subprocess.Popen[bytes], asked: list[float]) -> None:
        self.process, self.asked = process, asked
        self.sent = 0

    def look(self) -> None:
        if not self.asked:
            return
        waited = time.monotonic() - self.asked[0]
        due = (True, len(self.asked) > 1 or waited > GRACE_S[0], waited > sum(GRACE_S))
        for i, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL)):
            if self.sent == i and due[i]:
                _signal_group(self.process, number)
                self.sent += 1


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end_stragglers(run: Path | str) -> list[int]:
    """Kill what is left of a run and return its process ids.

    torchrun gives each rank a session of its own, so killing launch.sh's group does not reach them; all of them carry
    the run's directory in their environment.
    """
    ended: list[int] = []
    while found := [pid for pid in marked(run) if pid not in ended]:  # again, for what was started meanwhile
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended += found
    return ended


def marked(run: Path | str) -> list[int]:
    """Processes that carry the mark of a run, ourselves left out."""
    wanted = f"{MARK}={run}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0") and int(entry.parent.name) != os.getpid():
                found.append(int(entry.parent.name))
    return found
