"""`runner doctor --gpu` on CPU processes: the same program and launcher, gloo in NCCL's stead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.engines.environment import Environment, ensure, environment
from runner.launch.all_reduce import all_reduce
from runner.project import Project
from tests.engine.conftest import Smoke
from tests.jobs.supervised import eventually


@pytest.fixture(scope="module")
def vllm() -> Environment:
    env = environment("vllm")
    ensure(env, lambda progress: None)
    return env


def test_two_ranks_sum_right(tmp_path: Path, vllm: Environment) -> None:
    done = Smoke(Project(tmp_path)).call("doctor", "--gpu", "--cpu-ranks", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["ranks"], found["backend"], found["diagnostics"]) == (2, "gloo", [])
    assert all(row["right"] and row["gb_s"] > 0 for row in found["sizes"])


def test_one_that_hangs_is_ended(vllm: Environment) -> None:
    hung = all_reduce(vllm, 2, {"CUDA_VISIBLE_DEVICES": ""}, timeout_s=3)
    assert hung.error == "it hung for 3 s"
    eventually(lambda: not [e for e in Path("/proc").glob("[0-9]*/cmdline") if b"jobs/all_reduce.py" in _read(e)], 5)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
