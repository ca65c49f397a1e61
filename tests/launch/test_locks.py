"""Two runs never take the same recipe or GPU; who holds a lock is told, and a dead holder holds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runner.launch.locks import gpu_locks, gpus_of, hand_over, read_holder, recipe_lock
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from tests.conftest import ROOT, Bench
from tests.launch.test_supervise import recipe_of

HOLDS = """\
import sys, time
from pathlib import Path
from runner.launch.locks import held, us
with held(Path(sys.argv[1]), us("phase2/other"), lambda who: SystemExit(who), None):
    Path(sys.argv[2]).touch()
    time.sleep(120)
"""


def holding(lock: Path, flag: Path) -> subprocess.Popen[bytes]:
    """Another process that has the lock."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLDS, str(lock), str(flag)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 60
    while not flag.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return process


@pytest.fixture
def recipe(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """For two GPUs."""
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("runner.launch.locks.gpu_uuids", list)
    return recipe_of(bench)


@pytest.mark.fault("two runs of one recipe at once", "the first goes on; the second is told who holds it, or waits")
def test_the_second_of_one_recipe_is_told_who_the_first_is(recipe: Recipe, tmp_path: Path) -> None:
    process = holding(tmp_path / "a" / ".lock", tmp_path / "has")
    try:
        with pytest.raises(Refused) as caught, recipe_lock(tmp_path / "a", recipe, None):
            pass
        (told,) = caught.value.diagnostics
        assert told.code == "R411"
        assert f"process {process.pid}, which has run `phase2/other` since 20" in told.notes[0]
    finally:
        process.kill()
        process.wait()


@pytest.mark.fault("a lock whose process was killed", "it holds nothing, and is taken")
def test_a_lock_of_a_dead_process_is_taken(recipe: Recipe, tmp_path: Path) -> None:
    process = holding(tmp_path / "a" / ".lock", tmp_path / "has")
    process.kill()
    process.wait()
    stale = read_holder(tmp_path / "a" / ".lock")
    assert stale is not None
    assert stale.pid == process.pid, "its file still names the dead one"
    with recipe_lock(tmp_path / "a", recipe, None):
        holder = read_holder(tmp_path / "a" / ".lock")
        assert holder is not None
        assert (holder.pid, holder.recipe) == (os.getpid(), "r")


def test_waiting_until_it_is_free(recipe: Recipe, tmp_path: Path) -> None:
    process = holding(tmp_path / "a" / ".lock", tmp_path / "has")
    told: list[str] = []

    def waiting(who: str, seconds: float) -> None:
        told.append(who)
        process.kill()
        process.wait()

    with recipe_lock(tmp_path / "a", recipe, waiting):
        assert told[0].startswith(f"process {process.pid}")


@pytest.mark.fault("a GPU that another run has, of whichever project", "the second is told who has it, or waits")
def test_a_gpu_that_is_taken(recipe: Recipe, tmp_path: Path) -> None:
    process = holding(tmp_path / "cache" / "locks" / "gpu-1.lock", tmp_path / "has")
    try:
        with pytest.raises(Refused) as caught, gpu_locks(recipe, None):
            pass
        (told,) = caught.value.diagnostics
        assert (told.code, told.message) == ("R414", "GPU 1 is in use by another run")
        assert f"process {process.pid}, which has run `phase2/other`" in told.notes[0]
        one = replace(recipe, box=replace(recipe.box, gpus=1))
        with gpu_locks(one, None) as files:
            assert len(files) == 1, "GPU 0 is free"
    finally:
        process.kill()
        process.wait()


@pytest.mark.fault("a runner killed while its engine still has the GPU", "the GPU stays locked until that has ended")
def test_what_outlives_its_runner_keeps_its_gpus(recipe: Recipe, tmp_path: Path) -> None:
    with gpu_locks(recipe, None) as files:
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=files)
        hand_over(files, "serve/r", orphan.pid)
    try:
        with pytest.raises(Refused) as caught, gpu_locks(recipe, None):
            pass
        assert f"held by process {orphan.pid}, which has run `serve/r`" in caught.value.diagnostics[0].notes[0]
    finally:
        orphan.kill()
        orphan.wait()
    with gpu_locks(recipe, None) as files:
        assert len(files) == 2


def test_a_cpu_run_and_a_sweep_take_none(recipe: Recipe) -> None:
    with gpu_locks(replace(recipe, box=replace(recipe.box, gpus=0)), None) as files:
        assert files == []


@pytest.mark.parametrize(
    ("visible", "uuids", "names"),
    [
        (None, [], ["0", "1"]),
        (None, ["GPU-b", "GPU-a", "GPU-c"], ["GPU-a", "GPU-b"]),
        ("3,2,1", [], ["2", "3"]),
        ("2,0", ["GPU-a", "GPU-b", "GPU-c"], ["GPU-a", "GPU-c"]),
        ("GPU-ab, GPU-cd", [], ["GPU-ab", "GPU-cd"]),
        ("GPU-ab", ["GPU-abcdef"], ["GPU-abcdef"]),
        ("MIG-1/2", ["GPU-a"], ["MIG-1-2"]),
        ("", [], []),
        ("-1", [], []),
        ("5", ["GPU-a"], ["5"]),
    ],
)
def test_which_gpus_a_run_takes(visible: str | None, uuids: list[str], names: list[str]) -> None:
    assert gpus_of(2, visible, uuids) == names


def test_a_lock_that_says_nothing(recipe: Recipe, tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    for text in ("", "{", json.dumps({"pid": 1}), json.dumps([1])):
        lock.write_text(text)
        assert read_holder(lock) is None
