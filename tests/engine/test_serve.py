"""`runner serve` with real vLLM and a tiny model: from cold to ready, the official client, kills, and nothing left.

The tests share servers and go in the order of the file: two replicas behind HAProxy, then one that stands alone.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from runner.engines.environment import Environment, ensure
from tests.engine.serving import (
    MODEL,
    RECIPE,
    Server,
    answer,
    eventually,
    free,
    left,
    make_server,
    sessions,
    vllm_environment,
)

needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="no HAProxy: apt-get install haproxy")
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def vllm() -> Environment:
    env = vllm_environment()
    ensure(env, lambda progress: None)
    return env


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, vllm: Environment) -> Iterator[Server]:
    """Two replicas behind one port, with a key."""
    server = make_server(tmp_path_factory.mktemp("pair"), vllm, KEY)
    started = server.start("--set", "replicas=2", "--detach")
    said, _ = started.communicate(timeout=600)
    assert started.returncode == 0, said
    (server.project.root / "said").write_text(said)
    yield server
    server.call("stop", "all")


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory, vllm: Environment) -> Iterator[Server]:
    server = make_server(tmp_path_factory.mktemp("alone"), vllm)
    yield server
    server.call("stop", "all")


@needs_haproxy
def test_ready_tells_how_it_is_asked(pair: Server) -> None:
    said = (pair.project.root / "said").read_text()
    assert "ready after " in said
    assert f"url    http://127.0.0.1:{pair.port}/v1" in said
    assert f"curl http://127.0.0.1:{pair.port}/v1/chat/completions" in said
    assert '-H "Authorization: Bearer $RUNNER_API_KEY"' in said
    assert 'OpenAI(base_url="http://127.0.0.1' in said
    (listed,) = pair.listed()
    assert listed["status"] == "ready"
    assert [r["status"] for r in listed["replicas"]] == ["ready", "ready"]


@needs_haproxy
def test_the_official_client(pair: Server) -> None:
    found = pair.asked("features")
    assert found["models"] == [MODEL]
    assert 1 <= found["completion"] <= 8
    assert found["chat"] == "assistant"
    assert found["pieces"] >= 1
    assert all(value <= 0 for value in found["logprobs"])
    assert found["wrong_key"]["status"] == 401
    assert found["too_long"]["status"] == 400
    assert "maximum context length is 512 tokens" in found["too_long"]["said"]


@needs_haproxy
def test_many_at_once_are_all_answered(pair: Server) -> None:
    assert pair.asked("many")["answers"] == [16] * 64


@needs_haproxy
def test_nothing_but_the_interface_is_open(pair: Server) -> None:
    def status(method: str, path: str, key: str = KEY, body: str | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=30)
        connection.request(method, path, body, {"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status

    assert status("GET", "/health", key="") == 200
    assert status("GET", "/v1/models") == 200
    assert status("GET", "/v1/models", key="") == 401
    closed = (
        "/metrics",
        "/invocations",
        "/pause",
        "/tokenize",
        "/openapi.json",
        "/v1/models/../../metrics",
        "//metrics",
    )
    for path in closed:
        assert status("POST", path, body="{}") == 404, path
    assert status("POST", "/v1/completions", body="x" * 10, key="") == 401


@needs_haproxy
def test_the_key_is_written_nowhere(pair: Server) -> None:
    assert KEY not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert KEY not in (pair.project.root / "said").read_text()
    texts = [file for file in pair.project.artifacts.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert texts == []


@pytest.mark.fault("a replica of an endpoint is killed under load", "every request; it is started again")
@needs_haproxy
def test_a_replica_is_killed_and_no_request_fails(pair: Server) -> None:
    first = pair.state["replicas"][0]["pid"]
    client = pair.client("load")
    assert client.stdout is not None
    assert client.stdout.readline() == "begun\n"
    os.kill(first, signal.SIGKILL)
    assert answer(client)["answers"] == [64] * 240
    assert pair.state["replicas"][0]["restarts"] == 1
    assert left(pair.project.root / "none", {first}) == []


@needs_haproxy
def test_a_stream_is_drained_before_the_end(pair: Server) -> None:
    before = pair.state
    client = pair.client("stream")
    assert client.stdout is not None
    assert client.stdout.readline() == "begun\n"
    stopped = pair.call("stop", MODEL)
    assert stopped.stdout == f"{RECIPE} (smoke): stopped, no processes left\n"
    found = answer(client)
    assert (found["tokens"], found["reason"]) == (400, "length")
    assert pair.state["status"] == "stopped"
    assert left(pair.project.root, sessions(before) | sessions(pair.state)) == []
    assert all(free(pair.port + i) for i in range(3))
    assert pair.listed() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_what_watches_is_ended_while_it_starts(alone: Server, number: int, code: int) -> None:
    started = alone.start()
    eventually(lambda: list(alone.project.artifacts.rglob("replica-0.log")))
    started.send_signal(number)
    assert started.wait(60) == code
    eventually(lambda: not left(alone.project.root, sessions(alone.state)))
    assert alone.listed() == []
    assert alone.state["status"] == "stopped"


def test_killed_it_leaves_nothing_and_ps_tells_the_truth(alone: Server) -> None:
    started = alone.start()
    assert started.stdout is not None
    said = ""
    while "print(" not in said:
        line = started.stdout.readline()
        assert line, said
        said += line
    taken = alone.call("serve", MODEL, "--profile", "smoke", "--set", f"port={alone.port}")
    assert taken.returncode == 1
    assert f"error[R330]: port {alone.port}, for replica-0, can't be listened on" in taken.stderr
    assert f"endpoint `{RECIPE}` (smoke) listens there" in taken.stderr
    before = alone.state
    os.kill(before["pid"], signal.SIGKILL)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 4, said
    eventually(lambda: not left(alone.project.root, sessions(before)), 10)
    (listed,) = alone.listed()
    assert (listed["status"], listed["pids"]) == ("died", [])
    assert free(alone.port)
    cleared = alone.call("stop", MODEL)
    assert cleared.stdout == f"{RECIPE} (smoke): had died, no processes left\n"
    assert alone.listed() == []
