"""Starting a server so that it can be ended with all it has started, and ending it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from .spec import Server

# in the environment of every process of an endpoint: the folder that it runs in, and who supervises it
MARK = "RUNNER_ENDPOINT"
TRACKERS_S, GONE_S = 2.0, 10.0
TIE = Path(__file__).with_name("tie.py")


def mark() -> str:
    return f"{Path.cwd()}#{os.getpid()}"


def start(server: Server, extra: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches us alone; killed when we are. Call it from the main thread: the
    kernel's tie is to the thread that forked."""
    environment = {**os.environ, **server.environment, **_visible(server), **extra, MARK: mark()}
    with log.open("ab") as out:
        return subprocess.Popen(
            tied(list(server.argv), "SIGKILL"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def tied(argv: list[str], number: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(TIE), str(os.getpid()), number, *argv]


def _visible(server: Server) -> dict[str, str]:
    """A scheduler may have given us GPUs 2 and 3 of a machine: a server's GPU 0 is then 2."""
    ours = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    if not ours or not server.gpus or max(server.gpus) >= len(ours):
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(ours[i] for i in server.gpus)}


def end(sessions: list[int], marked: str = "") -> list[int]:
    """Kill all processes of these sessions, and all that carry this mark, but ourselves and what we descend from.
    Returns their ids.

    Both are looked at: vLLM's engine overwrites its environment with a process title, and an engine may give its
    workers sessions of their own.
    """
    spared = _ancestors()
    ended: list[int] = []
    patience = time.monotonic() + TRACKERS_S
    while found := [pid for pid in belonging(sessions, marked) if pid not in spared and pid not in ended]:
        # Python's own trackers take away the shared memory of processes that were killed, and then end
        trackers = [pid for pid in found if _tracks(pid)] if time.monotonic() < patience else []
        for pid in (pid for pid in found if pid not in trackers):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            ended.append(pid)
        if trackers:
            time.sleep(0.02)
    # one that holds a GPU takes a moment to die
    patience = time.monotonic() + GONE_S
    while ended and time.monotonic() < patience and not spared.issuperset(belonging(sessions, marked)):
        time.sleep(0.02)
    return ended


def _tracks(pid: int) -> bool:
    with suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def belonging(sessions: list[int], marked: str = "") -> list[int]:
    wanted = f"{MARK}={marked}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # pid (name) state ppid pgrp session; a name may hold blanks and brackets
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] in "ZX":
                continue
            if int(fields[3]) in sessions or wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return found
