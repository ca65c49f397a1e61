"""What goes wrong while an engine runs: interruption, resumption, and its own errors."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.launch.local import MARK
from runner.record import read_metrics, read_run, runs
from tests.engine.conftest import RUNNER, Smoke
from tests.engine.stand_ins import nightly

RECIPE = "phase2/zero3-13b"
SET = ("--set", "save_steps=5", "--set", "max_steps=400", "--set", "eval_steps=200")


def alive(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@nightly
@pytest.mark.fault("two ranks under ZeRO-3 are interrupted", "a checkpoint of both, and the loss goes on from there")
def test_a_sharded_run_interrupted_goes_on_from_its_checkpoint(scratch: Smoke) -> None:
    """Two ranks under ZeRO-3: Ctrl-C after a checkpoint, nothing left behind, then the same run goes on."""
    process = subprocess.Popen(
        [*RUNNER, "run", RECIPE, "--profile", "smoke", *SET],
        cwd=scratch.project.root,
        env=scratch.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    run = None
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        found = [r for r in runs(scratch.project, RECIPE, "smoke") if r.record["values"]["max_steps"] == 400]
        run = found[0] if found else None
        if run and any(row.get("event") == "save" and row["step"] >= 10 for row in read_metrics(run.path)[0]):
            break
        time.sleep(0.2)
    assert run is not None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 130, out.decode()[-2000:]
    assert alive(str(run.path)) == []
    stopped = read_run(run.path)
    assert stopped is not None
    assert stopped.status == "interrupted"
    before, _ = read_metrics(run.path)
    reached = max(row["step"] for row in before)
    saved = max(row["step"] for row in before if row.get("event") == "save")
    assert reached < 400

    # shortening the run would be another run; the trainer is asked to stop soon after where it goes on
    again = subprocess.Popen(
        [*RUNNER, "run", RECIPE, "--profile", "smoke", *SET],
        cwd=scratch.project.root,
        env=scratch.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 300
    fresh: list[dict[str, float]] = []
    while time.monotonic() < deadline and again.poll() is None and len(fresh) < 8:
        fresh = [row for row in read_metrics(run.path)[0][len(before) :] if "loss" in row]
        time.sleep(0.2)
    again.send_signal(signal.SIGINT)
    out, _ = again.communicate(timeout=90)
    assert again.returncode == 130, out.decode()[-2000:]
    assert len(runs(scratch.project, RECIPE, "smoke")) >= 1
    assert fresh[0]["step"] == saved + 1
    first = next(row["loss"] for row in before if "loss" in row)
    assert fresh[0]["loss"] < 0.7 * first


def test_the_engines_own_error_is_shown(scratch: Smoke) -> None:
    done = scratch.call(
        "run", "phase4/lora-13b", "--profile", "smoke", "--set", "lora_target_linear=false",
        "--set", "lora_target_modules=[no_such_module]",
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert "the engine failed in step `train`" in done.stderr
    assert "no_such_module" in done.stderr
    assert "log.txt" in done.stderr
    assert "Traceback" not in done.stderr
    newest = runs(scratch.project, "phase4/lora-13b", "smoke")[0]
    assert newest.status == "failed"
    assert "no_such_module" in newest.record["error"]
