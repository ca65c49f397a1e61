"""An endpoint's own program before little servers, in a folder of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JOBS = Path(__file__).resolve().parents[2] / "runner/jobs"
LITTLE = Path(__file__).with_name("little_server.py")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def eventually(true: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return value


@dataclass
class Endpoint:
    folder: Path
    ports: list[int]
    process: subprocess.Popen[str] | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def start(
        self, *flags: str, command: tuple[str, ...] = (), keep: bool = False, **changes: Any
    ) -> subprocess.Popen[str]:
        each: list[list[str]] = changes.pop("each", [list(flags)] * changes.pop("count", 1))
        data: dict[str, Any] = {
            "model": "little",
            "host": "127.0.0.1",
            "port": self.ports[0],
            "key_file": None,
            "replicas": [
                {
                    "name": f"replica-{i}",
                    "argv": [sys.executable, str(LITTLE), str(self.ports[i]), *own],
                    "environment": {},
                    "port": self.ports[i],
                    "gpus": [],
                }
                for i, own in enumerate(each)
            ],
            "proxy": None,
            "health": "/health",
            "probe": "completion",
            "ready_timeout_s": 20,
            "drain_s": 5,
            **changes,
        }
        (self.folder / "endpoint.json").write_text(json.dumps(data))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "endpoint", *(["--keep"] if keep else [])),
                *("endpoint.json", *(("--", *command) if command else ())),
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(JOBS), **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    @property
    def state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "endpoint-state.json").read_text())
        except OSError:
            return {}
        return found

    def ready(self) -> dict[str, Any]:
        eventually(lambda: self.state.get("status") in ("ready", "failed"))
        assert self.state["status"] == "ready", self.state
        return self.state

    def ask(self, path: str = "/v1/completions", index: int = 0, body: Any = None, key: str = "") -> Any:
        payload = json.dumps(body or {"model": "little", "max_tokens": 8}).encode() if path != "/environ" else None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[index]}{path}", payload, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def left(self) -> list[int]:
        """Processes of this endpoint: by their mark, by their port, or helpers that know neither."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if where == str(self.folder) and line and "pytest" not in line:
                found.append(int(entry.name))
        return found
