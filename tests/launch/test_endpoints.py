"""What is said of endpoints is what their processes say: little servers, killed and stopped in every way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.launch import endpoints as subject
from runner.launch.all_reduce import Reduced, diagnose
from runner.record import read_run
from tests.conftest import Bench
from tests.jobs.supervised import JOBS, LITTLE, eventually, free_ports

NAME = "serve/little"


class Served:
    """A run directory of an endpoint, as `runner serve` leaves it, with a little server in vLLM's stead."""

    def __init__(self, bench: Bench, *flags: str) -> None:
        self.bench = bench
        self.run = bench.project.artifacts / NAME / "smoke" / "20260101-000000"
        self.run.mkdir(parents=True)
        (self.port,) = free_ports(1)
        argv = [sys.executable, str(LITTLE), str(self.port), *flags]
        replica = {"name": "replica-0", "argv": argv, "environment": {}, "port": self.port, "gpus": []}
        data = {"model": "little", "host": "127.0.0.1", "port": self.port, "replicas": [replica], "drain_s": 3}
        (self.run / "endpoint.json").write_text(json.dumps(data))
        record = {"recipe": NAME, "profile": "smoke", "status": "running"}
        (self.run / "run.json").write_text(json.dumps(record))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "endpoint", "endpoint.json"],
            cwd=self.run,
            env={**os.environ, "PYTHONPATH": str(JOBS), "RUNNER_RUN": str(self.run)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (self.run / "run.json").write_text(json.dumps({**record, "pid": self.process.pid}))
        subject.remember(self.run)
        eventually(lambda: subject.look(self.run).status in ("ready", *subject.OVER))

    @property
    def record(self) -> dict[str, object]:
        found = read_run(self.run)
        assert found is not None
        return found.record

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.bench.call(*arguments, RUNNER_CACHE=str(self.bench.project.root / "cache"))


@pytest.fixture
def served(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("RUNNER_CACHE", str(bench.project.root / "cache"))
    made = Served(bench, "--helper")
    yield made
    made.process.kill()
    made.process.wait()
    subject.stop(subject.look(made.run))


def test_one_that_runs_is_listed_and_stopped(served: Served) -> None:
    shown = served.call("ps").stdout.splitlines()
    assert shown[1].split()[:5] == [NAME, "smoke", "ready", f"http://127.0.0.1:{served.port}", "little"]
    stopped = served.call("stop", "little")
    assert stopped.stdout == f"{NAME} (smoke): stopped, no processes left\n"
    assert served.process.wait(5) == 0
    assert served.record["status"] == "stopped"
    assert served.record["measured"]["ready_after_s"] > 0  # type: ignore[index]
    assert served.call("ps").stdout == "no endpoints\n"


def test_one_that_was_killed_is_not_believed(served: Served) -> None:
    before = subject.read_state(served.run)
    served.process.kill()
    served.process.wait()
    assert subject.read_state(served.run) == before, "its file still says that it is ready"
    eventually(lambda: not subject.look(served.run).pids)
    shown = served.call("ps").stdout
    assert shown.splitlines()[1].split()[:3] == [NAME, "smoke", "died"]
    assert f"`runner stop {NAME}` clears it away" in shown
    assert served.record["status"] == "failed"
    assert served.call("stop", "all").stdout == f"{NAME} (smoke): had died, no processes left\n"
    assert served.call("ps", "--json").stdout == "[]\n"


def test_what_a_killed_guard_leaves_is_found_and_cleared_away(served: Served) -> None:
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    guard = next(int(c) for c in children if b"guard" in Path(f"/proc/{c}/cmdline").read_bytes())
    os.kill(guard, signal.SIGKILL)
    served.process.kill()
    served.process.wait()
    # the server itself is tied to its supervisor, its helpers are not
    eventually(lambda: len(subject.look(served.run).pids) == 2)
    assert "2 processes are left" in served.call("ps").stdout
    assert served.call("stop", NAME).stdout == f"{NAME} (smoke): had died, no processes left\n"


def test_another_process_of_the_same_number_is_no_endpoint(served: Served) -> None:
    served.process.kill()
    served.process.wait()
    eventually(lambda: not subject.look(served.run).pids)
    state = json.loads((served.run / subject.STATE).read_text()) | {"pid": os.getpid(), "replicas": []}
    (served.run / subject.STATE).write_text(json.dumps(state))
    assert subject.look(served.run).status == "died"


def test_one_that_failed_says_why(served: Served) -> None:
    os.kill(subject.read_state(served.run)["replicas"][0]["pid"], signal.SIGKILL)
    assert served.process.wait(20) == 1
    shown = served.call("ps").stdout
    assert "failed" in shown
    assert "  = replica-0 was killed by signal 9" in shown
    assert served.record["error"] == "replica-0 was killed by signal 9"


def test_nothing_to_stop(bench: Bench) -> None:
    cache = str(bench.project.root / "cache")
    assert bench.call("ps", RUNNER_CACHE=cache).stdout == "no endpoints\n"
    assert bench.call("stop", "all", RUNNER_CACHE=cache).returncode == 0
    done = bench.call("stop", "little", RUNNER_CACHE=cache)
    assert done.returncode == 1
    assert "error[R334]: no endpoint `little` runs" in done.stderr


def test_what_to_switch_where_gpus_do_not_reach_each_other() -> None:
    hung = Reduced({}, "it hung for 150 s", 150)
    around = Reduced({"sizes": [{"gb_s": 11.26, "right": True}]}, "", 9)
    told = diagnose(hung, around)
    assert told.code == "R333"
    assert "the all-reduce: it hung for 150 s" in told.notes
    assert "with NCCL_P2P_DISABLE=1 it works, through host memory, at 11.3 GB/s" in told.notes
    assert "NCCL_P2P_DISABLE=1" in told.help
    assert "ACS" in told.help
    assert "NCCL_P2P_DISABLE=1: no" in " ".join(diagnose(hung, Reduced({}, "no", 1)).notes)


@pytest.mark.parametrize(("error", "status"), [(None, "stopped"), ("the model is gone", "failed")])
def test_one_that_was_being_stopped_and_is_gone(bench: Bench, error: str | None, status: str) -> None:
    """As a service that was let go: nobody is there to write its last word."""
    run = bench.project.artifacts / "phase5" / "papers" / "full" / "20260101-000000" / "service"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"recipe": "phase5/papers", "profile": "full", "status": "running"}))
    (run / subject.STATE).write_text(json.dumps({"status": "stopping", "error": error}))
    found = subject.look(run)
    assert (found.recipe, found.status, found.pids) == ("phase5/papers", status, ())
