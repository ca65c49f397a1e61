"""Real training, killed, cut off and hung: it goes on by itself, and comes to what it would have come to, to the bit.

It has its own project: with that of all smoke runs (tests/conftest.py) it would be the last thing that one worker does
while the other has nothing left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.launch.checkpoints import checkpoints
from runner.launch.guard import alive
from runner.launch.hang import STACKS
from runner.launch.local import marked
from runner.metrics import gone_through
from runner.record import Run, file_hash, read_metrics, runs
from tests.engine.conftest import RUNNER, Smoke

NANO, LORA = "phase1/gpt-nano", "phase4/lora-13b"
# short, and in the log at every step
SHORT: dict[str, object] = {
    "max_steps": 60, "warmup_steps": 6, "eval_steps": 60, "save_steps": 10, "save_total_limit": 4, "logging_steps": 1,
}  # fmt: skip
SURVIVES: dict[str, object] = {"max_restarts": 2, "hang_timeout_s": 25}


def sets(values: dict[str, object]) -> list[str]:
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


class Started:
    """A run of the runner under way."""

    def __init__(self, scratch: Smoke, recipe: str, values: dict[str, object]) -> None:
        self.scratch, self.recipe, self.before = scratch, recipe, len(runs(scratch.project, recipe, "smoke"))
        self.process = subprocess.Popen(
            [*RUNNER, "run", recipe, "--profile", "smoke", *sets(values)],
            cwd=scratch.project.root, env=scratch.env, stdout=-1, stderr=-2, text=True,
        )  # fmt: skip

    @property
    def run(self) -> Run:
        return runs(self.scratch.project, self.recipe, "smoke")[0]

    def until(self, holds: Callable[[Path], object], timeout_s: float = 240) -> None:
        """While the run goes on. Whether it holds is asked of its folder, once that is there."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.communicate()[0][-3000:]
            found = runs(self.scratch.project, self.recipe, "smoke")
            if found and found[0].status == "running" and holds(found[0].path):
                return
            time.sleep(0.05)
        raise AssertionError("it never held")

    def ended(self, code: int) -> str:
        said, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == code, said[-3000:]
        return said


def step(run: Path) -> int:
    """Where it is: a resumed run begins before the last report of the dead one."""
    return max((int(row.get("step", 0)) for row in gone_through(read_metrics(run)[0])), default=0)


def begun(run: Path) -> int:
    return sum(row.get("event") == "begin" for row in read_metrics(run)[0])


def trainer(run: Path) -> int:
    """The rank itself."""

    def line(pid: int) -> bytes:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    return next(pid for pid in sorted(marked(run)) if b"trainer" in line(pid) or b"axolotl.cli.train" in line(pid))


def losses(run: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in gone_through(read_metrics(run)[0]) if "loss" in row}


@pytest.fixture(scope="module")
def data(scratch: Smoke) -> None:
    need = scratch.call("run", "phase1/data-shakespeare", "--profile", "smoke")
    assert need.returncode == 0, need.stderr


@pytest.mark.fault(
    "kill -9 of a training rank", "its newest whole checkpoint; the model of an unbroken run, to the bit"
)
@pytest.mark.fault("a training run hangs in the middle", "as above, by itself, and stacks of every process")
@pytest.mark.fault("kill -9 of the runner while it trains", "the trainer saves and ends; the next start goes on there")
@pytest.mark.fault("power lost while a training run saves", "the whole checkpoint before; the curve has each step once")
def test_a_trainer_survives_it_all(scratch: Smoke, data: None) -> None:
    whole = Started(scratch, NANO, SHORT)
    whole.ended(0)
    unbroken = whole.run

    # the rank is killed, and then its successor stops for good: both times the runner itself goes on
    first = Started(scratch, NANO, {**SHORT, **SURVIVES, "title": "Killed and hung"})
    first.until(lambda run: step(run) >= 14)
    os.kill(trainer(first.run.path), signal.SIGKILL)
    first.until(lambda run: begun(run) == 2 and step(run) >= 24)
    os.kill(trainer(first.run.path), signal.SIGSTOP)
    first.until(lambda run: begun(run) == 3 and step(run) >= 34)
    assert "--- process" in (first.run.path / STACKS).read_text()

    # then the runner is killed itself
    first.process.kill()
    first.process.communicate()
    run = first.run
    end = time.monotonic() + 60
    while marked(run.path) and time.monotonic() < end:
        time.sleep(0.1)
    assert marked(run.path) == []
    assert run.status == "running", "as it was when its runner died"
    assert [a["failure"] for a in run.record["attempts"]] == ["killed", "hung"]
    newest, before, *_ = checkpoints(run.path)
    assert newest.torn == ""
    assert newest.step > 34, "the trainer saved where it was"

    # and what it saved is cut off, as by power that goes
    file = newest.path / "optimizer.pt"
    os.truncate(file, file.stat().st_size // 2)
    last = Started(scratch, NANO, {**SHORT, **SURVIVES, "title": "Killed and hung"})
    said = last.ended(0)
    assert f"checkpoint-{newest.step} is torn (optimizer.pt: " in said
    assert f"goes on from output/checkpoint-{before.step}" in said
    assert last.run.path == run.path
    assert [a["status"] for a in last.run.record["attempts"]] == ["failed", "failed", "finished"]
    assert losses(run.path) == losses(unbroken.path), "each step once, and each to the last digit"
    assert sorted(losses(run.path)) == list(range(1, 61))
    weights = "output/model.safetensors"
    assert file_hash(run.path / weights) == file_hash(unbroken.path / weights)
    assert not alive(first.process.pid)


@pytest.mark.fault("kill -9 of Axolotl while it trains", "its newest whole checkpoint; the same losses as unbroken")
def test_axolotl_goes_on_to_the_same_end(scratch: Smoke, axolotl: Environment) -> None:
    values: dict[str, object] = {
        "save_steps": 5,
        "max_steps": 20,
        "logging_steps": 1,
        "eval_steps": 20,
        "merge": "false",
    }
    whole = Started(scratch, LORA, values)
    whole.ended(0)
    unbroken = whole.run
    killed = Started(scratch, LORA, {**values, "max_restarts": 1, "title": "Killed"})
    killed.until(lambda run: step(run) >= 8)
    os.kill(trainer(killed.run.path), signal.SIGKILL)
    assert "goes on from output/checkpoint-5" in killed.ended(0)
    run = killed.run
    assert [a["from_step"] for a in run.record["attempts"]] == [0, 5]
    assert losses(run.path) == losses(unbroken.path)
    weights = "output/adapter_model.safetensors"
    assert file_hash(run.path / weights) == file_hash(unbroken.path / weights)


@pytest.mark.fault("power lost after an older checkpoint was removed", "the newest, which was on the disk before")
@pytest.mark.fault("the clock is set back while a run trains", "the checkpoint of the most steps")
def test_an_older_checkpoint_goes_when_the_newest_is_on_the_disk(axolotl: Environment, tmp_path: Path) -> None:
    worker = Path(__file__).with_name("rotation_worker.py")
    env = {**os.environ, "PYTHONPATH": str(jobs_dir())}
    done = subprocess.run(
        [axolotl.path / "bin" / "python", worker], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    flushed = ["output", "output/checkpoint-15", "output/checkpoint-15/model.safetensors"]
    assert found == {"removed": [["checkpoint-5", flushed], ["checkpoint-10", flushed]], "left": ["checkpoint-15"]}
