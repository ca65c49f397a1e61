"""Ends what a run has started when the runner itself is gone, however it went; a process beside the run.

The runner holds the other end of this process's standard input, and the kernel closes that when the runner dies. Until
then nothing happens. It runs alone and imports nothing of ours: `python -I -S guard.py GROUP MARK SECONDS SECONDS`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

POLL_S = 0.1
# the last word of a runner that has ended the run itself
OVER = b"over"


def marked(mark: str, *others: int) -> list[int]:
    """Processes with `mark`, which is `NAME=value`, in the environment they began with; ourselves and `others` left
    out, and those that are dead already."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        pid = int(entry.parent.name)
        with suppress(OSError, IndexError):
            mine = mark.encode() in entry.read_bytes().split(b"\0")
            if mine and pid not in (os.getpid(), *others) and alive(pid):
                found.append(pid)
    return found


def alive(pid: int) -> bool:
    """Not dead, nor waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def end(mark: str) -> list[int]:
    """Kill all that carry the mark, and return their process ids.

    torchrun gives each rank a session of its own, so killing launch.sh's group does not reach them; all of them carry
    the run's directory in their environment.
    """
    ended: list[int] = []
    while found := [pid for pid in marked(mark) if pid not in ended]:  # again, for what was started meanwhile
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended += found
    return ended


def end_in_peace(group: int, mark: str, grace_s: Sequence[float]) -> None:
    """As at Ctrl-C: SIGINT, upon which a trainer saves; SIGTERM; then SIGKILL to all that is left. launch.sh leads the
    group and waits for what it starts: with it gone, nobody has anything left to save."""
    for number, patience in zip((signal.SIGINT, signal.SIGTERM), grace_s, strict=True):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
        until = time.monotonic() + patience
        while alive(group) and time.monotonic() < until:
            time.sleep(POLL_S)
    end(mark)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # for the run; it ends when the run has
    group, mark, *grace = sys.argv[1:]
    if OVER not in sys.stdin.buffer.read():
        end_in_peace(int(group), mark, [float(each) for each in grace])


if __name__ == "__main__":
    main()
