"""Starts the servers and the proxy, waits until they are ready, keeps them so, and stops them whatever happens."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from . import keys, processes
from .child import Child
from .drain import abandon, drain
from .guard import Guard
from .masking import Masking
from .metrics import Poller
from .signals import Signals
from .spec import Problem, Server, Spec, reachable
from .state import State

TICK_S = 0.1
# how long a command that is asked to stop may take
COMMAND_GRACE_S = 20.0


class Supervisor:
    """`command` runs against the endpoint once it is ready; without one it serves until it is asked to stop. A server
    that is the only one and dies ends it all, unless it is to `keep` it: started again, as one of many is."""

    def __init__(self, spec: Spec, command: Sequence[str] = (), *, keep: bool = False) -> None:
        self.spec, self.command, self.keep = spec, list(command), keep
        self.signals = Signals()
        self.began = time.monotonic()
        self.key = keys.read_key(spec.key_file)
        keys.refuse_open(spec, self.key)
        self.secrets = {**os.environ, keys.VARIABLE: self.key or ""}
        # from here on it is passed by name to those alone that need it
        os.environ.pop(keys.VARIABLE, None)
        self.replicas: list[Child] = []
        self.proxy: Child | None = None
        self.was_ready = False
        self.state = State(url=spec.url, model=spec.model, replicas=[])

    def run(self) -> int:
        """The exit code: the command's, 0 when stopped, 1 where the servers failed."""
        self.guard = Guard()
        masking = Masking(Path(), self.secrets)
        error, code, poller = "", 0, None
        try:
            self._start()
            if self._wait_ready():
                self._tell_ready()
                poller = Poller(self._serving, Path("endpoint-metrics.jsonl" if self.command else "metrics.jsonl"))
                code = self._run_command() if self.command else self._serve()
            elif self.command:
                code = 128 + self.signals.asked[0]
        except Problem as problem:
            error, code = str(problem), 1
        finally:
            if poller is not None:
                poller.stopped.set()
            self._stop(error)
            self.guard.close()
            masking.close()
        if error:
            raise Problem(error)
        return code

    def _start(self) -> None:
        for server in self.spec.servers:
            refuse_taken(server)
        if self.spec.proxy is not None:
            refuse_proxy(self.spec.proxy, keys.for_servers(self.key))
        environment = keys.for_servers(self.key)
        for server in self.spec.replicas:
            self.replicas.append(Child(server, self.spec, self.key, environment, self.guard))
            print(f"{server.name}: port {server.port}, log {server.name}.log", flush=True)
        self._write()

    def _wait_ready(self) -> bool:
        """False where somebody asked to stop before. Raises Problem where a server fails; the first one counts."""
        while not all(child.status == "ready" for child in self._children()) or self._start_proxy():
            if self.signals.asked:
                return False
            self.signals.wait(TICK_S)
            for child in self._children():
                child.look()
                if child.error:
                    raise Problem(child.error)
        return True

    def _start_proxy(self) -> bool:
        """True where it was started only now. It takes all servers for healthy at first, so it comes after them."""
        if self.spec.proxy is None or self.proxy is not None:
            return False
        self.proxy = Child(self.spec.proxy, self.spec, self.key, keys.for_servers(self.key), self.guard)
        return True

    def _tell_ready(self) -> None:
        self.was_ready = True
        self.state.set(ready_after_s=round(time.monotonic() - self.began, 2))
        self._write()
        for child in self._children():
            if child.readiness.note:
                print(f"{child.server.name}: {child.readiness.note}", flush=True)
        print(f"ready {self.spec.url}", flush=True)

    def _serve(self) -> int:
        while not self.signals.asked:
            self._keep()
            self.signals.wait(TICK_S if self.state.values["status"] == "degraded" else 1.0)
        return 0

    def _run_command(self) -> int:
        environment = {**os.environ, "ENDPOINT_URL": self.spec.url, "ENDPOINT_MODEL": self.spec.model}
        environment |= {"ENDPOINT_KEY": self.key} if self.key else {}
        environment[processes.MARK] = processes.mark()
        process = subprocess.Popen(processes.tied(self.command, "SIGKILL"), env=environment, start_new_session=True)
        self.guard.tell(process.pid)
        try:
            while process.poll() is None and not self.signals.asked:
                self._keep()
                self.signals.wait(1.0)
        finally:
            asked = self.signals.asked[0] if self.signals.asked else signal.SIGTERM
            interrupted = process.poll() is None
            if interrupted:
                process.send_signal(asked)
                end = time.monotonic() + COMMAND_GRACE_S
                while process.poll() is None and time.monotonic() < end and len(self.signals.asked) < 2:
                    self.signals.wait(0.2)
            processes.end([process.pid])
        code = process.wait()
        if interrupted:
            return 128 + asked
        return code if code >= 0 else 128 - code

    def _keep(self) -> None:
        """Look after the servers. Raises Problem where none can be expected to come back."""
        for child in self._children():
            before = child.status
            child.look()
            if child.error and before == "ready":
                if len(self.replicas) == 1 and child is not self.proxy and not self.keep:
                    raise Problem(child.error)
                print(f"{child.error}; it will be started again", flush=True)
            if child.status == "failed" and before != "failed":
                print(f"{child.error}; it is given up after {child.restarts} restarts", flush=True)
            if child.restart_when_due():
                print(f"{child.server.name}: started again", flush=True)
        gone = self.proxy if self.proxy is not None and self.proxy.status == "failed" else None
        if gone is None and all(child.status == "failed" for child in self.replicas):
            gone = self.replicas[-1]
        if gone is not None:
            raise Problem(gone.error)
        self._write()

    def _stop(self, error: str) -> None:
        status = "failed" if error else "stopped"
        if self._children():
            self.state.set(status="stopping", error=error or None)
            if self.was_ready and not error:
                drain(self.replicas, self.proxy, seconds=self.spec.drain_s, signals=self.signals)
            else:
                abandon(self._children(), self.signals)
        for child in self._children():
            child.status = "failed" if child.error else "stopped"
        self.state.set(status=status, error=error or None, replicas=[child.described() for child in self.replicas])

    def _children(self) -> list[Child]:
        return [*self.replicas, *([self.proxy] if self.proxy else [])]

    def _serving(self) -> list[Server]:
        return [child.server for child in self.replicas if child.status == "ready"]

    def _write(self) -> None:
        whole = all(child.status == "ready" for child in self._children())
        status = "starting" if not self.was_ready else "ready" if whole else "degraded"
        self.state.set(status=status, replicas=[child.described() for child in self.replicas])


def refuse_taken(server: Server) -> None:
    """Raises Problem where something listens on the server's port already: it would answer in the server's stead."""
    host = reachable(server.host)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Problem(f"port {server.port} of {server.name} is in use") from None
        raise Problem(f"{server.name} can't listen on {server.host}, port {server.port}: {error.strerror}") from None


def refuse_proxy(proxy: Server, environment: dict[str, str]) -> None:
    """Raises Problem where HAProxy is missing or refuses its configuration: it starts last, minutes later."""
    if shutil.which(proxy.argv[0]) is None:
        raise Problem(f"{proxy.argv[0]} is not installed; Debian and Ubuntu: apt-get install haproxy")
    if Path(proxy.argv[0]).name == "haproxy":
        check = [*proxy.argv, "-c"]
        done = subprocess.run(check, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            alerts = [line for line in (done.stdout + done.stderr).splitlines() if "ALERT" in line]
            raise Problem(f"HAProxy refuses its configuration: {(alerts or ['no word why'])[0]}")
