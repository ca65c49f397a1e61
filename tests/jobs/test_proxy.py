"""HAProxy as it is rendered, before little servers: who may ask what, and what becomes of requests when one dies."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runner.render import address, jinja
from tests.jobs.supervised import LITTLE, Endpoint, eventually, free_ports

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="no HAProxy: apt-get install haproxy")
KEY = 'odd "key" with $HOME, #hash and %[blanks]'


def config(ports: list[int], host: str = "127.0.0.1") -> str:
    replicas = [{"name": f"replica-{i}", "port": port} for i, port in enumerate(ports[1:])]
    endpoint = {"model": "little\nbind :1", "host": host, "port": ports[0], "replicas": replicas}
    return jinja().get_template("_haproxy.cfg.j2").render(endpoint={**endpoint, "health": "/health", "drain_s": 5})


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path, free_ports(3), variables={"RUNNER_API_KEY": KEY})
    (tmp_path / "haproxy.cfg").write_text(config(made.ports))
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()
    eventually(lambda: not made.left())


def start(endpoint: Endpoint, *flags: str) -> dict[str, Any]:
    replicas = [
        {"name": f"replica-{i}", "argv": [sys.executable, str(LITTLE), str(port), *flags], "port": port}
        for i, port in enumerate(endpoint.ports[1:])
    ]
    proxy = {"argv": ["haproxy", "-W", "-db", "-f", "haproxy.cfg"], "port": endpoint.ports[0]}
    endpoint.start(replicas=replicas, proxy=proxy, port=endpoint.ports[0])
    return endpoint.ready()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "[::]", "localhost", "*"])
@pytest.mark.parametrize("key", [None, KEY])
def test_haproxy_takes_it(tmp_path: Path, host: str, key: str | None) -> None:
    (tmp_path / "haproxy.cfg").write_text(config(free_ports(3), host))
    env = {**os.environ, **({"ENDPOINT_KEY": key} if key else {})}
    done = subprocess.run(["haproxy", "-c", "-f", "haproxy.cfg"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize("host", ["a b", "127.0.0.1\n bind :2", "", "x;y", "-a"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        address(host)


def ask(port: int, method: str, path: str, key: str = KEY, **more: Any) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with suppress(BrokenPipeError):  # refused before all of it was sent
        connection.request(method, path, more.get("body"), headers | more.get("headers", {}))
    return connection.getresponse().status


def under_way(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        found = re.search(rb"num_requests_running\S* (\d+)", answer.read())
    assert found
    return int(found[1])


def test_who_may_ask_what(endpoint: Endpoint) -> None:
    start(endpoint)
    port = endpoint.ports[0]
    body = '{"max_tokens": 1}'
    assert ask(port, "POST", "/v1/completions", body=body) == 200
    assert ask(port, "GET", "/health", key="") == 200
    for key in ("", "wrong", KEY[:-1], KEY + "x"):
        assert ask(port, "POST", "/v1/completions", key=key, body=body) == 401
    for path in (
        "/environ",
        "/metrics",
        "/v1",
        "/v1/models/",
        "/v1/models/x",
        "/V1/models",
        "/v1%2fmodels",
        "/./environ",
    ):
        assert ask(port, "GET", path) == 404, path
    assert ask(port, "DELETE", "/v1/models") == 405
    assert ask(port, "OPTIONS", "/v1/models") == 405
    assert ask(port, "POST", "/v1/completions", body="x" * 300_000, headers={"Content-Length": str(2**26)}) == 413
    assert ask(port, "POST", "/v1/completions", body=iter([b"{}"])) == 411


def test_requests_of_a_killed_server_are_answered_by_the_other(endpoint: Endpoint) -> None:
    first = start(endpoint, "--answer", "0.4")["replicas"][0]["pid"]
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(endpoint.ask, key=KEY) for _ in range(96)]
        eventually(lambda: sum(a.done() for a in asked) > 20)
        os.kill(first, signal.SIGKILL)
        served = {a.result()["choices"][0]["text"] for a in asked}
    assert str(first) in served
    assert len(served) >= 2
    eventually(lambda: endpoint.state["status"] == "ready")
    assert endpoint.state["replicas"][0]["restarts"] == 1


def test_a_stop_waits_for_what_is_under_way(endpoint: Endpoint) -> None:
    start(endpoint, "--answer", "3")
    assert endpoint.process is not None
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(endpoint.ask, key=KEY) for _ in range(4)]
        # the servers themselves are asked: the endpoint's own metrics come once a second, and later on a busy machine
        eventually(lambda: sum(under_way(port) for port in endpoint.ports[1:]) == 4)
        endpoint.process.terminate()
        assert all(a.result()["choices"] for a in asked)
    assert endpoint.process.wait(20) == 0
    assert endpoint.left() == []


def test_a_killed_proxy_is_started_again(endpoint: Endpoint) -> None:
    start(endpoint)
    found = subprocess.run(["pgrep", "-f", "haproxy.cfg"], capture_output=True, text=True).stdout.split()
    ours = [int(pid) for pid in found if Path(f"/proc/{pid}/cwd").readlink() == endpoint.folder]
    os.kill(min(ours), signal.SIGKILL)
    eventually(lambda: endpoint.state["status"] == "degraded")
    eventually(lambda: endpoint.state["status"] == "ready")
    assert ask(endpoint.ports[0], "GET", "/v1/models") == 200


def test_a_config_that_haproxy_refuses_is_told_at_once(endpoint: Endpoint) -> None:
    (endpoint.folder / "haproxy.cfg").write_text("nonsense\n")
    with pytest.raises(AssertionError, match="failed"):
        start(endpoint)
    assert "HAProxy refuses its configuration" in endpoint.state["error"]
