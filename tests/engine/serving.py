"""A scratch project whose endpoints are its own, and the official client to ask them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.engines.environment import Environment, environment
from runner.project import Project, cache_dir
from tests.engine.conftest import ROOT, RUNNER, Smoke

CLIENT = Path(__file__).with_name("openai_client.py")
MODEL = "llama-2-13b"
RECIPE = f"serve/{MODEL}"


@dataclass(frozen=True)
class Server(Smoke):
    """`runner ps` there shows nothing of what this machine's user serves otherwise."""

    vllm: Environment
    port: int
    key: str = ""

    @property
    def env(self) -> dict[str, str]:
        mine = {"RUNNER_CACHE": str(self.project.root / "cache")}
        return super().env | mine | ({"RUNNER_API_KEY": self.key} if self.key else {})

    @property
    def state(self) -> dict[str, Any]:
        files = sorted((self.project.artifacts / RECIPE / "smoke").glob("*/endpoint-state.json"))
        found: dict[str, Any] = json.loads(files[-1].read_text())
        return found

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*RUNNER, "serve", MODEL, "--profile", "smoke", "--set", f"port={self.port}", *arguments],
            cwd=self.project.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def listed(self) -> list[dict[str, Any]]:
        done = self.call("ps", "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def client(self, task: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.vllm.python), str(CLIENT), f"http://127.0.0.1:{self.port}", MODEL, task],
            env={**os.environ, "ENDPOINT_KEY": self.key or "none"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def asked(self, task: str) -> dict[str, Any]:
        return answer(self.client(task))


def answer(client: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = client.communicate(timeout=300)
    assert client.returncode == 0, err[-2000:]
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def make_server(root: Path, vllm: Environment, key: str = "") -> Server:
    shutil.copytree(ROOT / "recipes", root / "recipes")
    (root / "artifacts").mkdir()
    (root / "cache").mkdir()
    (root / "cache" / "envs").symlink_to(cache_dir() / "envs")
    return Server(Project(root), vllm, three_ports(), key)


def three_ports() -> int:
    """The first of three in a row that are free."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
        if all(free(port + i) for i in range(3)):
            return port


def free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def sessions(state: dict[str, Any]) -> set[int]:
    return {int(replica["pid"]) for replica in state["replicas"]}


def left(root: Path, of: set[int]) -> list[str]:
    """Processes in these sessions or of this project, whatever they call themselves."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = str((entry / "cwd").readlink())
        except OSError:
            continue
        if stat[0] not in "ZX" and (int(stat[3]) in of or where.startswith(f"{root}/artifacts")):
            found.append(line)
    return found


def eventually(true: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return value


def vllm_environment() -> Environment:
    return environment("vllm")
