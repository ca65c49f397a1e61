"""launch.sh as processes of this machine: started in their own group, watched, and never left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from runner.launch import guard
from runner.launch.follow import Follower, Watch, mend_metrics
from runner.launch.hang import dump_stacks, silent_s
from runner.launch.resident import Resident
from runner.record import LOG
from runner.redact import mask_logs

POLL_S = 0.2
# in the environment of every process of a run
MARK = "RUNNER_RUN"
# in that of the process which ends a run when its runner is gone
GUARD = "RUNNER_GUARD"
# how long a process group may take to end after SIGINT, then after SIGTERM, before it is killed
GRACE_S = (30.0, 10.0)
# beyond that, for a guard that has all this to wait for
LATE_S = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: exit code, seconds of each part of launch.sh, and memory in GiB: the most that one process had
    resident, and the most that all had together in each part (empty where the system does not tell). `silent_s` is how
    long a run that hung and was ended for it had said nothing."""

    code: int
    interrupted: bool
    seconds: float
    parts: dict[str, float]
    peak_rss_gib: float
    resident_gib: dict[str, float]
    silent_s: float | None = None


def launch(
    run: Path,
    watch: Watch,
    *,
    environment: dict[str, str] | None = None,
    keep_open: Sequence[int] = (),
    hang_s: float | None = None,
) -> Ended:
    """Run `launch.sh` of a run directory to its end, its output going to log.txt.

    Secrets of the environment, and what looks like one, are masked in the log as it grows. Ctrl-C, SIGTERM and a closed
    terminal are passed on to the whole process group, which gets `GRACE_S` to end by itself. Should we be gone, it is
    ended all the same. `keep_open` are files that launch.sh inherits (locks); for `hang_s` see runner/launch/hang.py.
    """
    started = time.monotonic()
    end_stragglers(run)  # of a runner that was killed and is now started again
    mend_metrics(run)
    given = {**os.environ, **(environment or {}), MARK: str(run)}
    with (run / LOG).open("ab") as log, asked_to_stop() as asked:
        follower = Follower(run, watch, given)
        process = subprocess.Popen(
            ["bash", "launch.sh"],
            cwd=run,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=given,
            pass_fds=keep_open,
        )
        with guarded(process, run):
            try:
                usage, resident, silent = _watch(process, run, follower, asked, hang_s)
            finally:
                _signal_group(process, signal.SIGKILL)
                process.wait()
                guard.end(f"{MARK}={run}")
                follower.look()
                follower.close()
                mask_logs(run, given)
    seconds = time.monotonic() - started
    return Ended(
        code=process.returncode,
        interrupted=bool(asked),
        seconds=seconds,
        parts=follower.durations(seconds),
        peak_rss_gib=usage.ru_maxrss / 1024**2,
        resident_gib={part: held / 1024**3 for part, held in resident.peaks.items()},
        silent_s=silent,
    )


def _watch(
    process: subprocess.Popen[bytes], run: Path, follower: Follower, asked: list[float], hang_s: float | None
) -> tuple[resource.struct_rusage, Resident, float | None]:
    stopper, resident = _Stopper(process, asked), Resident(process.pid)
    silent = None
    while (usage := _usage(process)) is None:
        follower.look()
        resident.look(follower.progress.part)
        stopper.look()
        if silent is None and not asked and (silent := silent_s(follower, hang_s)) is not None:
            dump_stacks(run, marked(run), silent)
            guard.end(f"{MARK}={run}")
        time.sleep(POLL_S)
    return usage, resident, silent


def _usage(process: subprocess.Popen[bytes]) -> resource.struct_rusage | None:
    """What the process and all it waited for have used; None while it runs. The kernel's figure for all children that
    ever were would count those of before."""
    ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if ended:
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage if ended else None


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
    """Kill what is left of a run and return its process ids. A guard that lets it end in peace is waited for."""
    until = time.monotonic() + sum(GRACE_S) + LATE_S
    while being_ended(run) and time.monotonic() < until:
        time.sleep(POLL_S)
    return guard.end(f"{MARK}={run}")


def being_ended(run: Path | str) -> bool:
    """Whether a guard is there: of a runner that lives, or of one that was killed."""
    return bool(guard.marked(f"{GUARD}={run}"))


@contextmanager
def guarded(process: subprocess.Popen[bytes], run: Path) -> Iterator[None]:
    """While inside, a process beside us ends the run should we be gone, even by SIGKILL."""
    grace = [str(seconds) for seconds in GRACE_S]
    given = {name: value for name, value in os.environ.items() if name != MARK} | {GUARD: str(run)}
    beside = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(process.pid), f"{MARK}={run}", *grace],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=given,
    )
    try:
        yield
    finally:
        with suppress(OSError, subprocess.TimeoutExpired):
            beside.communicate(guard.OVER, timeout=LATE_S)


def marked(run: Path | str) -> list[int]:
    """Processes that carry the mark of a run, ourselves left out."""
    return guard.marked(f"{MARK}={run}")
