"""A run that makes no step any more: when it counts as hung, and where each of its processes stood."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from runner.launch.follow import Follower
from runner.record import now

STACKS = "stacks.txt"
# without a limit in the recipe: this many times the longest that a report of steps has taken to come (evaluations and
# checkpoints between them count in), and never less than half an hour, which is three times NCCL's own patience
TIMES = 10.0
FLOOR_S = 1800.0
# for the stacks of one process
SPY_S = 20.0


def silent_s(follower: Follower, limit_s: float | None) -> float | None:
    """How long a hung run has been silent, in seconds; None for one that isn't hung.

    A word in the log is a sign of life as a step is: an evaluation of an hour shows its bar there. `limit_s`, the
    recipe's, is for the time between its steps; before the first and after the last, while it loads, compiles and
    merges, it may take `TIMES` as long. 0 turns this off. Without a limit only the time between steps counts.
    """
    silent = time.monotonic() - follower.heard
    if limit_s is not None:
        patience = limit_s if follower.stepped is not None else TIMES * limit_s
        return silent if 0 < patience < silent else None
    if follower.stepped is None or not follower.longest:
        return None
    return silent if silent > max(FLOOR_S, TIMES * follower.longest) else None


def dump_stacks(run: Path, pids: list[int], silent: float) -> None:
    """Where every process stands, into stacks.txt of the run; Python's stacks by py-spy."""
    said = [f"{now()}: no step and no word in the log for {silent:.0f} s; {len(pids)} processes", ""]
    for pid in pids:
        said += [f"--- process {pid}: {_read(pid, 'cmdline').replace(chr(0), ' ').strip()[:300]}", *_state(pid)]
        said += [_spy(pid), ""]
    with (run / STACKS).open("a", encoding="utf-8") as out:
        out.write("\n".join(said) + "\n")


def _spy(pid: int) -> str:
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        return "no stack: py-spy is not installed"
    if "python" not in _exe(pid):
        return "no stack: not a Python process"
    try:
        done = subprocess.run([spy, "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=SPY_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no stack: {error}"
    return done.stdout.strip() or f"no stack: {done.stderr.strip()}"


def _exe(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name
    return ""


def _state(pid: int) -> list[str]:
    """The kernel's word: state, memory, and the call that it sleeps in."""
    wanted = ("State:", "Threads:", "VmRSS:")
    found = [line.replace("\t", " ") for line in _read(pid, "status").splitlines() if line.startswith(wanted)]
    asleep = _read(pid, "wchan").strip("0\n")
    return [*found, f"Sleeps in: {asleep}"] if asleep else found


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
