"""Servers under supervision: real processes, if small ones, so that every way to die can be tried."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.jobs.supervised import JOBS, Endpoint, eventually, free_ports

pytestmark = pytest.mark.slow


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    made = Endpoint(tmp_path, free_ports(4))
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()
    eventually(lambda: not made.left())


def test_ready_then_stopped(endpoint: Endpoint) -> None:
    process = endpoint.start("--start", "0.3", "--helper")
    state = endpoint.ready()
    assert state["url"] == f"http://127.0.0.1:{endpoint.ports[0]}"
    assert state["model"] == "little"
    assert state["pid"] == process.pid
    assert 0.3 < state["ready_after_s"] < 20
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"ready http://127.0.0.1:{endpoint.ports[0]}\n" in said
    assert endpoint.state["status"] == "stopped"
    assert endpoint.state["error"] is None
    assert endpoint.left() == []


def test_secrets_are_masked_while_it_serves_with_nobody_there(endpoint: Endpoint) -> None:
    endpoint.variables["HF_TOKEN"] = secret = "planted-and-not-of-a-known-maker"
    process = endpoint.start("--tells", "HF_TOKEN")
    endpoint.ready()
    log = endpoint.folder / "replica-0.log"
    eventually(lambda: "token ***" in log.read_text())
    assert secret not in log.read_text()
    (endpoint.folder / "log.txt").write_text(f"unfinished {secret}")  # a line's end may never come
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (endpoint.folder / "log.txt").read_text() == f"unfinished {'*' * len(secret)}"


def test_a_request_under_way_is_answered_before_the_end(endpoint: Endpoint) -> None:
    process = endpoint.start("--answer", "1.5")
    endpoint.ready()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(endpoint.ask)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert answer.result()["choices"]
    assert process.wait(20) == 0


def test_what_does_not_end_is_killed(endpoint: Endpoint) -> None:
    process = endpoint.start("--ignores-term", drain_s=0)
    endpoint.ready()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)  # in a hurry
    assert process.wait(5) == 0
    assert endpoint.left() == []


@pytest.mark.fault("an endpoint's supervisor is killed", "no server is left")
def test_a_killed_supervisor_leaves_nothing(endpoint: Endpoint) -> None:
    process = endpoint.start("--helper", count=2)
    endpoint.ready()
    assert len(endpoint.left()) >= 2 * 3 + 1
    process.kill()
    eventually(lambda: not endpoint.left())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--dies-at-start"],
            "replica-0 ended with exit code 1: ValueError: the number of heads must be divisible",
        ),
        (["--dies-on-request"], "RuntimeError: no kernel image is available"),
        (["--start", "60"], "replica-0 was not ready after 1 s, it still lacks its health"),
    ],
)
def test_one_that_is_never_ready(endpoint: Endpoint, flags: list[str], said: str) -> None:
    process = endpoint.start(*flags, ready_timeout_s=1 if "60" in flags else 20)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said in out
    assert out.splitlines()[-1].startswith("error: ")
    assert endpoint.state["status"] == "failed"
    assert said in endpoint.state["error"]
    assert endpoint.left() == []


@pytest.mark.fault("the port of an endpoint is taken", "told before a model is loaded")
def test_a_taken_port_is_told(endpoint: Endpoint) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", endpoint.ports[0]))
        taken.listen()
        out, _ = endpoint.start().communicate(timeout=20)
    assert out == f"error: port {endpoint.ports[0]} of replica-0 is in use\n"


def test_the_only_server_dies(endpoint: Endpoint) -> None:
    process = endpoint.start("--dies-after", "1", "--helper")
    endpoint.ready()
    assert process.wait(20) == 1
    assert "replica-0 ended with exit code 7" in endpoint.state["error"]
    assert endpoint.left() == []


def test_one_of_two_dies_and_comes_back(endpoint: Endpoint) -> None:
    process = endpoint.start(count=2)
    first, second = endpoint.ready()["replicas"]
    os.kill(first["pid"], signal.SIGKILL)
    eventually(lambda: endpoint.state["status"] == "degraded", 5)
    assert "was killed by signal 9" in endpoint.state["replicas"][0]["error"]
    assert endpoint.ask(index=1)["choices"]
    eventually(lambda: endpoint.state["status"] == "ready")
    now = endpoint.state["replicas"]
    assert now[0]["pid"] != first["pid"]
    assert [r["restarts"] for r in now] == [1, 0]
    assert now[1]["pid"] == second["pid"]
    process.terminate()
    assert process.wait(20) == 0


def test_the_only_server_is_kept(endpoint: Endpoint) -> None:
    process = endpoint.start(keep=True, command=("sleep", "300"))
    (first,) = endpoint.ready()["replicas"]
    os.kill(first["pid"], signal.SIGKILL)
    eventually(lambda: endpoint.state["status"] == "degraded")
    eventually(lambda: endpoint.state["status"] == "ready")
    assert endpoint.state["replicas"][0]["restarts"] == 1
    assert endpoint.ask()["choices"]
    process.terminate()
    assert process.wait(20) == 143
    assert endpoint.left() == []


def test_a_command_runs_against_it(endpoint: Endpoint) -> None:
    code = "import os, sys; print(os.environ['ENDPOINT_URL'], os.environ['ENDPOINT_MODEL']); sys.exit(9)"
    process = endpoint.start(command=(sys.executable, "-c", code))
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 9
    assert f"http://127.0.0.1:{endpoint.ports[0]} little\n" in out
    assert endpoint.state["status"] == "stopped"
    assert endpoint.left() == []


def test_a_command_ends_with_its_server(endpoint: Endpoint) -> None:
    process = endpoint.start("--dies-after", "1", command=("sleep", "300"))
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "error: replica-0 ended with exit code 7" in out
    assert endpoint.left() == []


def test_a_command_is_interrupted(endpoint: Endpoint) -> None:
    process = endpoint.start(command=("sleep", "300"))
    endpoint.ready()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert endpoint.left() == []


def test_the_key_goes_by_environment_alone(endpoint: Endpoint) -> None:
    file = endpoint.folder.parent / "key"
    file.write_text("s3cret-word\n")
    file.chmod(0o600)
    code = "import os; print('key' if os.environ['ENDPOINT_KEY'] == 's3cret-word' else '', len(os.environ['PATH']))"
    process = endpoint.start(key_file=str(file), command=(sys.executable, "-c", f"{code}; import time; time.sleep(2)"))
    endpoint.ready()
    assert endpoint.ask(key="s3cret-word")["choices"]
    assert endpoint.ask("/environ")["VLLM_API_KEY"] == "s3cret-word"
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "s3cret" not in listed
    out, _ = process.communicate(timeout=20)
    assert "key " in out
    written = [f for f in endpoint.folder.iterdir() if "s3cret" in f.read_text()]
    assert written == []


@pytest.mark.parametrize(("mode", "text", "said"), [(0o644, "x", "has mode 644"), (0o600, " \n", "is empty")])
def test_a_key_file_that_will_not_do(endpoint: Endpoint, mode: int, text: str, said: str) -> None:
    file = endpoint.folder.parent / "key"
    file.write_text(text)
    file.chmod(mode)
    process = endpoint.start(key_file=str(file))
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said in out


def test_metrics_are_followed(endpoint: Endpoint) -> None:
    process = endpoint.start("--answer", "2.5", count=2)
    endpoint.ready()
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(endpoint.ask, index=i % 2) for i in range(6)]
        assert all(answer.result() for answer in answers)
    time.sleep(2.2)
    process.terminate()
    process.wait(20)
    rows = [json.loads(line) for line in (endpoint.folder / "metrics.jsonl").read_text().splitlines()]
    assert max(row["running"] for row in rows) == 6
    assert rows[-1]["running"] == 0
    assert max(row["tokens_per_s"] for row in rows) > 1
    assert {row["servers"] for row in rows} == {2}


@pytest.mark.parametrize("argv", [[], ["--help"], ["a.json", "b"], ["a.json", "--"]])
def test_usage(argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "endpoint", *argv], env={**os.environ, "PYTHONPATH": str(JOBS)}, capture_output=True
    )
    assert done.returncode == 2
