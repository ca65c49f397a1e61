"""How much memory the processes of a run hold together, looked up in /proc while they run."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

# Looking costs the kernel a walk over what each process has mapped: at least this long between two looks, and never
# more than a fiftieth of the time.
EVERY_S = 0.5
SPARE = 50


class Resident:
    """Follows a process and all below it; `peaks` are bytes of each part of launch.sh. Empty where there is no /proc.

    Memory that several processes share (libraries, what a fork has not changed yet) counts once: the sum of their
    proportional set sizes is what the machine really has to have.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peaks: dict[str, int] = {}
        self.due = 0.0

    def look(self, part: str) -> None:
        now = time.monotonic()
        if now < self.due:
            return
        held = sum(held_bytes(pid) for pid in family(self.pid))
        self.due = now + max(EVERY_S, (time.monotonic() - now) * SPARE)
        if held:
            self.peaks[part] = max(self.peaks.get(part, 0), held)


def family(pid: int) -> list[int]:
    """The process and all below it, whatever sessions they opened."""
    found = [pid]
    for each in found:  # grows while it is read
        for thread in _threads(each):
            with suppress(OSError):
                found += map(int, Path(f"/proc/{each}/task/{thread}/children").read_text().split())
    return found


def _threads(pid: int) -> list[str]:
    """None once it is gone: a process may end between any two looks at it, and with it the folder that is listed."""
    try:
        return [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def held_bytes(pid: int) -> int:
    """A process's proportional set size; what is resident where the kernel doesn't tell; 0 once it is gone."""
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    return 0
