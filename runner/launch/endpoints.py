"""Endpoints of this user: where they run, whether they really do, and how they are stopped.

An endpoint's own program (runner/jobs/endpoint, or jobs/rag's service) keeps endpoint-state.json. What that says is
believed only as far as its processes are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.launch.ended import failure_of
from runner.launch.local import MARK
from runner.project import cache_dir
from runner.record import RECORD, final_metrics, now, read_run, write_json

STATE = "endpoint-state.json"
# in the environment of an endpoint's processes: `<run>#<pid of the supervisor>`
ENDPOINT_MARK = "RUNNER_ENDPOINT"
OVER = ("stopped", "failed", "died")
# beyond what requests under way get: vLLM's own end, and the kill behind it
LATE_S = 30.0
# a killed process that holds a GPU takes a moment to die
GONE_S = 10.0
# its own program has said that all is over, and ends
LAST_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`status` is the program's own word, or `died` where it says that it runs and does not. `pids` are the processes
    that are there, the supervisor's first where it lives."""

    run: Path
    recipe: str
    profile: str
    status: str
    state: dict[str, Any]
    pids: tuple[int, ...]

    @property
    def alive(self) -> bool:
        return self.status not in OVER

    @property
    def url(self) -> str:
        return str(self.state.get("url") or "")

    @property
    def error(self) -> str:
        return str(self.state.get("error") or ("its processes are gone" if self.status == "died" else ""))


def read_state(run: Path) -> dict[str, Any]:
    """Empty where there is none yet."""
    try:
        found = json.loads((run / STATE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def look(run: Path) -> Endpoint:
    """What there is in a run directory."""
    state = read_state(run)
    record = read_run(run)
    said = record.record if record is not None else {}
    supervisor = int(state.get("pid") or said.get("pid") or 0)
    pids = processes(run, state)
    status = str(state.get("status") or "starting")
    if status not in OVER and not _is_ours(supervisor, run):
        status = "died"
        # it may have written its last word meanwhile
        state = read_state(run)
        status = _last_word(state) or status
    elif status not in OVER:
        pids = [supervisor, *(pid for pid in pids if pid != supervisor)]
    return Endpoint(run, str(said.get("recipe", "")), str(said.get("profile", "")), status, state, tuple(pids))


def _last_word(state: dict[str, Any]) -> str:
    """What became of one that is gone, by what it said; empty where it did not know that it would go."""
    said = str(state.get("status"))
    if said == "stopping":
        return "failed" if state.get("error") else "stopped"
    return said if said in OVER else ""


def _is_ours(pid: int, run: Path) -> bool:
    """A number alone proves nothing: it may be another process's by now."""
    with suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return f"{MARK}={run}".encode() in variables and _field(pid, 0) not in ("Z", "X")
    return False


def processes(run: Path, state: dict[str, Any]) -> list[int]:
    """What runs for this endpoint. vLLM's engine has written a title over its environment, mark and all, but is in
    the session of the server that started it; that counts only until the endpoint's own program has ended everything.
    """
    marks = (f"{MARK}={run}".encode(), f"{ENDPOINT_MARK}={run}#".encode())
    sessions = {str(r.get("pid")) for r in state.get("replicas", ())} if state.get("status") not in OVER else set()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            pid = int(entry.name)
            if pid == os.getpid() or _field(pid, 0) in ("Z", "X"):
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
            marked = any(v == marks[0] or v.startswith(marks[1]) for v in variables)
            if marked or _field(pid, 3) in sessions:
                found.append(pid)
    return sorted(found)


def _field(pid: int, index: int) -> str:
    """Of /proc/PID/stat after the name: 0 the state, 3 the session."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[index]


# --- which there are: links in the cache, one for each run that was served and not yet seen to have stopped ---


def _links() -> Path:
    return cache_dir() / "endpoints"


def remember(run: Path) -> None:
    link = _links() / hashlib.sha256(str(run).encode()).hexdigest()[:16]
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(run)


def forget(run: Path) -> None:
    (_links() / hashlib.sha256(str(run).encode()).hexdigest()[:16]).unlink(missing_ok=True)


def endpoints() -> Iterator[Endpoint]:
    """Those that run, and those that failed or died and that nobody has been told of; by the time of their start."""
    found = []
    for link in _links().glob("*") if _links().is_dir() else ():
        run = link.readlink()
        if not (run / RECORD).is_file():
            link.unlink(missing_ok=True)  # artifacts/ was removed
            continue
        endpoint = look(run)
        if not endpoint.alive:
            settle(endpoint)
        if endpoint.status == "stopped":
            forget(run)
        else:
            found.append(endpoint)
    yield from sorted(found, key=lambda e: e.run.name)


def stop(endpoint: Endpoint) -> Endpoint:
    """Ask it to stop, wait while it drains, and kill what is left after that. Returns what it came to."""
    run, pids = endpoint.run, endpoint.pids
    if endpoint.alive and pids:
        with suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGTERM)
        end = time.monotonic() + drain_s(run) + LATE_S
        while look(run).alive and time.monotonic() < end:
            time.sleep(POLL_S)
    last_s = float(read_state(run).get("closing_s") or LAST_S)
    patience = time.monotonic() + (last_s if look(run).status == "stopped" else 0)
    end = patience + GONE_S
    while (ended := look(run)).pids and time.monotonic() < end:
        for pid in ended.pids if time.monotonic() > patience else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    settle(ended)
    forget(run)
    return ended


def drain_s(run: Path) -> float:
    try:
        return float(json.loads((run / "endpoint.json").read_text())["drain_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 20.0


def settle(endpoint: Endpoint) -> None:
    """Write into run.json how it ended, once."""
    found = read_run(endpoint.run)
    if found is None or found.status != "running":
        return
    ready = endpoint.state.get("ready_after_s")
    stopped = endpoint.status == "stopped"
    record = found.record | {
        "status": "stopped" if stopped else "failed",
        "finished": now(),
        "measured": {"ready_after_s": ready} if ready is not None else {},
        "metrics": final_metrics(endpoint.run),
        "error": endpoint.error or None,
        "failure": None if stopped else failure_of(endpoint.run, None),
    }
    write_json(endpoint.run / RECORD, record)
