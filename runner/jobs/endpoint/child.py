"""A server that is kept alive: its process, whether it is ready, and when it is started again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import processes
from .guard import Guard
from .last_words import last_words
from .readiness import Readiness
from .spec import Server, Spec

# a server that dies is started again after 1, 2, 4, ... s; the count begins anew when it has served for a while
RESTARTS = 5
STEADY_S = 600.0


class Child:
    """`status` is starting, ready, waiting (to be started again) or failed."""

    def __init__(self, server: Server, spec: Spec, key: str | None, environment: Mapping[str, str], guard: Guard):
        self.server, self.spec, self.key, self.environment, self.guard = server, spec, key, dict(environment), guard
        self.log = Path(f"{server.name}.log")
        self.status, self.error = "starting", ""
        self.restarts = self.in_a_row = 0
        self.sessions: list[int] = []
        self.start()

    def start(self) -> None:
        self.log_from = self.log.stat().st_size if self.log.exists() else 0
        self.process: subprocess.Popen[bytes] = processes.start(self.server, self.environment, self.log)
        self.guard.tell(self.process.pid)
        self.sessions.append(self.process.pid)
        self.since = time.monotonic()
        self.status = "starting"
        self.readiness = Readiness(self.server, self.spec, self.key)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def look(self) -> None:
        """Take note of what has happened since the last look; `error` says why it is not there any more."""
        if self.status == "starting":
            self._look_at_start()
        elif self.status == "ready" and not self.alive:
            self._died(self._exit())

    def _look_at_start(self) -> None:
        if not self.alive:
            self._died(self._exit())
        elif self.readiness.error:
            # its own words, where it is dying of what it was asked
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            said = last_words(self.log, self.log_from) if not self.alive else ""
            self._died(f"{self.server.name} is {self.readiness.error}" + (f": {said}" if said else ""))
        elif self.readiness.ready:
            self.status, self.error, self.since = "ready", "", time.monotonic()
        elif time.monotonic() - self.since > self.spec.ready_timeout_s:
            said = last_words(self.log, self.log_from)
            waited = f"{self.server.name} was not ready after {self.spec.ready_timeout_s:.0f} s"
            self._died(f"{waited}, it still lacks {self.readiness.waits_for}; it last said: {said or 'nothing'}")

    def _exit(self) -> str:
        code = self.process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = last_words(self.log, self.log_from)
        return f"{self.server.name} {how}" + (f": {said}" if said else "")

    def _died(self, error: str) -> None:
        self.readiness.stopped.set()
        processes.end(self.sessions)  # an engine that has lost its front keeps its GPU memory
        self.process.wait()
        self.in_a_row = 0 if self.status == "ready" and time.monotonic() - self.since > STEADY_S else self.in_a_row
        self.error = error
        self.status = "waiting" if self.in_a_row < RESTARTS else "failed"
        self.due = time.monotonic() + 2**self.in_a_row

    def restart_when_due(self) -> bool:
        if self.status != "waiting" or time.monotonic() < self.due:
            return False
        self.restarts += 1
        self.in_a_row += 1
        self.start()
        return True

    def described(self) -> dict[str, Any]:
        return {
            "name": self.server.name,
            "pid": self.process.pid,
            "port": self.server.port,
            "status": self.status,
            "restarts": self.restarts,
            "error": self.error or None,
        }
