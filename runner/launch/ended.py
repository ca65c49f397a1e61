"""How a run ended -> the `failure` of its record: what its log says, its metrics, and the kernel."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.engines import load_engine
from runner.failures import TAIL, Failure, find
from runner.launch.losses import went_wrong
from runner.recipe.resolve import Recipe
from runner.record import LOG, read_metrics
from runner.redact import redact

LOG_TAIL = 64 * 1024
# exit codes that SIGKILL leaves: a shell's, and subprocess's
KILLED = (137, -9)


@dataclass(frozen=True, slots=True)
class Before:
    """What must be known before an attempt starts, to tell afterwards what came of it; `at` is the time."""

    log_bytes: int
    oom_kills: int
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """A known failure, and the `log` and its `line` (from 1 on) that tell it; None where other evidence does."""

    failure: Failure
    log: Path
    line: int | None


def before(run: Path) -> Before:
    log = run / LOG
    return Before(log.stat().st_size if log.is_file() else 0, oom_kills(), time.time())


def failure_of(
    run: Path, code: int | None, was: Before | None = None, also: Collection[str] = ()
) -> dict[str, Any] | None:
    """What goes into run.json as `failure`: `name` and `title` of the known failure, the `log` and its `line` that say
    it, from 1 on (None where other evidence does), whether a `retry` may do better. None where it is none we know.
    `also` is evidence that the caller has."""
    text, _ = attempt(run / LOG, was.log_bytes if was is not None else 0)
    known = {*evidence(run, code, text, was), *also}
    found = told(run, code, known, was)
    if found is None:
        return None
    f = found.failure
    return {"name": f.name, "title": f.title, "log": found.log.name, "line": found.line, "retry": f.retry}


def told(run: Path, code: int | None, known: Collection[str], was: Before | None = None) -> Told | None:
    """The failure that says most, of the run's own log and those of its servers: the run's repeats what a server said
    last, and so comes after them."""
    servers = [log for log in sorted(run.glob("*.log")) if was is None or log.stat().st_mtime >= was.at]
    best: Told | None = None
    for log in [*servers, run / LOG]:
        own = log.name == LOG
        text, lines = attempt(log, was.log_bytes if was is not None and own else 0)
        found = find(text, exit_code=code if own else None, evidence=known if own else ())
        if found is not None and (best is None or found.failure.rank < best.failure.rank):
            best = Told(found.failure, log, None if found.line is None else lines + found.line + 1)
    return best


def evidence(run: Path, code: int | None, text: str, was: Before | None) -> set[str]:
    """The kernel's count is of the whole machine: that it ended something for memory says why a process of ours was
    killed, and nothing where none was."""
    found = {story.how} if (story := went_wrong(read_metrics(run)[0])) is not None else set()
    if was is not None and oom_kills() > was.oom_kills:
        ours = find(text, exit_code=code)
        if code in KILLED or (ours is not None and any(c in ours.failure.exit_codes for c in KILLED)):
            found.add("oom_kill")
    return found


def attempt(log: Path, start: int = 0) -> tuple[str, int]:
    """The end of a log, as far as it was written after byte `start`, and the lines of it that stand before."""
    with suppress(OSError), log.open("rb") as stream:
        stream.seek(0, 2)
        start = max(start, stream.tell() - TAIL)
        stream.seek(0)
        lines = sum(block.count(b"\n") for block in _blocks(stream, start))
        return stream.read().decode("utf-8", "replace"), lines
    return "", 0


def _blocks(stream: Any, size: int) -> Any:
    while size > 0 and (block := stream.read(min(size, 1 << 20))):
        size -= len(block)
        yield block


def last_error(recipe: Recipe, run: Path) -> str:
    """The engine's own last error, or the last line it wrote."""
    with (run / LOG).open("rb") as log:
        log.seek(0, 2)
        log.seek(max(0, log.tell() - LOG_TAIL))
        tail = log.read().decode("utf-8", "replace")
    said = load_engine(recipe.engine).failure(tail)
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return redact((said or (lines[-1] if lines else "it wrote nothing"))[:400])


def oom_kills() -> int:
    """Processes that the kernel has ended for want of memory since it started, of the whole machine; where it keeps no
    such count (before Linux 4.13), those of our own control group."""
    for file in (Path("/proc/vmstat"), *_control_group()):
        with suppress(OSError):
            if counted := re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE):
                return int(counted[1])
    return 0


def _control_group() -> list[Path]:
    """Where the kernel counts for us: `memory.events` of version 2, `memory.oom_control` of version 1."""
    found = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if not controllers:
                found.append(Path(f"/sys/fs/cgroup{place}/memory.events"))
            elif "memory" in controllers.split(","):
                found.append(Path(f"/sys/fs/cgroup/memory{place}/memory.oom_control"))
    return found
