"""Parts of the endpoint's own program: what a dying server said, what its metrics say, what the key may be."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from runner.jobs.endpoint.keys import read_key, refuse_open
from runner.jobs.endpoint.last_words import last_words
from runner.jobs.endpoint.metrics import read_metrics
from runner.jobs.endpoint.spec import Problem, Spec, from_data
from runner.jobs.endpoint.supervise import refuse_taken

CORE = "(EngineCore pid=7) ERROR 11-24 18:43:57 [core.py:1512] "


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            f"{CORE}Traceback (most recent call last):\n{CORE}ValueError: The model's max seq len (4096) is too large\n"
            "(APIServer pid=3) RuntimeError: Engine core initialization failed. See root cause above.\n",
            "ValueError: The model's max seq len (4096) is too large",
        ),
        (
            "(EngineCore pid=7) ERROR 11-24 18:43:56 [multiproc_executor.py:315] Worker proc VllmWorker-0 died "
            f"unexpectedly (exit code: None)\n{CORE}RuntimeError: cancelled\n",
            "Worker proc VllmWorker-0 died unexpectedly (exit code: None)",
        ),
        ("usage: vllm serve\nvllm: error: unrecognized arguments: --swap 4\n", "unrecognized arguments: --swap 4"),
        ("[ALERT]    (12) : config : no such file\n", "config : no such file"),
        ('INFO: "GET /health HTTP/1.1" 200\n(APIServer pid=3) INFO 11-24 18:43:56 [x.py:1] hello\nKilled\n', "Killed"),
        ("", ""),
        ("x" * 300_000, "x" * 500),
        ("torch.OutOfMemoryError: CUDA out of memory. " + "." * 5000, "torch.OutOfMemoryError: CUDA out of memory. "),
    ],
)  # fmt: skip
def test_last_words(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log").startswith(said)
    assert len(last_words(tmp_path / "log")) <= 500


def test_only_what_came_after_the_start_counts(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("ValueError: of the run before\nOSError: of this one\n")
    assert last_words(tmp_path / "log", 30) == "OSError: of this one"


def test_metrics_of_several_engines_are_added_up() -> None:
    text = b"""# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {b} c"} 3.0
vllm:num_requests_running{engine="1",model_name="a {b} c"} 4.0
vllm:num_requests_waiting{engine="0"} 1e+01
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0"} 0.2
vllm:kv_cache_usage_perc{engine="1"} 0.4
vllm:generation_tokens_total{engine="0"} 1.5e+06
"""
    assert read_metrics(text) == {"running": 7, "queue": 10, "kv_use": pytest.approx(0.3), "generated": 1.5e6}
    assert read_metrics(b"sglang:num_running_reqs 2\n") == {"running": 2}
    assert read_metrics(b"<html>") == {}


def spec(host: str, proxy: bool = True, **changes: Any) -> Spec:
    replica = {"name": "replica-0", "argv": ["true"], "environment": {}, "port": 1}
    front = {"argv": ["haproxy"], "port": 2} if proxy else None
    return from_data({"model": "m", "host": host, "port": 2, "replicas": [replica], "proxy": front, **changes})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_this_machine_needs_no_key(host: str) -> None:
    refuse_open(spec(host, proxy=False), None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*", "10.0.0.7", "gpu-box.example"])
def test_others_need_a_key_and_a_proxy(host: str) -> None:
    with pytest.raises(Problem, match="no API key"):
        refuse_open(spec(host), None)
    with pytest.raises(Problem, match="no proxy"):
        refuse_open(spec(host, proxy=False), "key")
    refuse_open(spec(host), "key")


def test_a_wildcard_is_reached_on_this_machine() -> None:
    assert spec("0.0.0.0").url == "http://127.0.0.1:2"
    assert spec("::").url == "http://[::1]:2"


def test_the_environments_key_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_API_KEY", " mine ")
    assert read_key(str(tmp_path / "none")) == "mine"
    monkeypatch.delenv("RUNNER_API_KEY")
    assert read_key(None) is None
    with pytest.raises(Problem, match="can't read the key file"):
        read_key(str(tmp_path / "none"))


def test_a_port_that_somebody_listens_on() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        replica = {"name": "replica-0", "argv": ["true"], "environment": {}, "port": port}
        made = from_data({"model": "m", "host": "127.0.0.1", "port": port, "replicas": [replica]})
        with pytest.raises(Problem, match=f"port {port} of replica-0 is in use"):
            refuse_taken(made.replicas[0])
    refuse_taken(made.replicas[0])


@pytest.mark.parametrize("broken", [{}, {"model": "m"}, {"model": "m", "host": "h", "port": 1, "replicas": []}])
def test_no_endpoint(broken: dict[str, Any]) -> None:
    with pytest.raises((Problem, KeyError)):
        from_data(broken)
