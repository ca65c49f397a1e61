"""Real failures of real engines, each told from the log that it left: what happened, the cause, and the knob."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.launch.local import marked
from runner.record import runs
from tests.engine.conftest import RUNNER, Smoke

DATA = "phase1/data-shakespeare"


def test_a_column_that_the_data_lacks_is_told_before_anything_runs(scratch: Smoke) -> None:
    """Axolotl would find it while it prepares the rows (`KeyError`, in data/failures/column-missing.yaml)."""
    rows = scratch.project.root / "questions.jsonl"
    rows.write_text("".join(json.dumps({"question": f"{n}?", "reply": f"{n}."}) + "\n" for n in range(64)))
    data = f"datasets=[{{path: {rows}, ds_type: json, type: alpaca}}]"
    before = runs(scratch.project, "phase4/lora-13b", "smoke")
    done = scratch.call("run", "phase4/lora-13b", "--profile", "smoke", "--set", data)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error[R850]" in done.stderr
    assert "`questions.jsonl` has no column `instruction`" in done.stderr
    assert len(runs(scratch.project, "phase4/lora-13b", "smoke")) == len(before)


@pytest.mark.fault("kill -9 of an engine's process", "told from one of the kernel's for want of memory")
def test_one_that_was_killed(scratch: Smoke) -> None:
    """SIGKILL from outside, which the kernel did not count as want of memory."""
    process = subprocess.Popen(
        [*RUNNER, "run", DATA, "--profile", "smoke", "--force"],  # another test may have run it
        cwd=scratch.project.root,
        env=scratch.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (found := _worker(scratch)) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert found, process.communicate()[0]
    os.kill(found, signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 4, out
    assert "= what: a process was killed" in out
    failure = runs(scratch.project, DATA, "smoke")[0].record["failure"]
    assert (failure["name"], failure["line"] is not None) == ("killed", True)
    told = json.loads(scratch.call("why", DATA, "--json").stdout)
    assert (told["status"], told["exit_code"], told["failure"]["name"]) == ("failed", 137, "killed")
    assert told["go_on"] == f"make recipe R={DATA} PROFILE=smoke"


def _worker(smoke: Smoke) -> int:
    """datatrove's process, once it has begun."""
    for run in runs(smoke.project, DATA, "smoke")[:1]:
        for pid in marked(run.path):
            try:
                if b"\0prepare\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            except OSError:
                continue
    return 0


@pytest.mark.fault("the disk is full while data are prepared", "told as that, with the lines of the log")
def test_a_full_disk(scratch: Smoke, tmp_path: Path) -> None:
    """artifacts/ on a disk of one MiB, in a mount namespace of its own."""
    place = scratch.project.artifacts
    words = ["unshare", "--mount", "--map-root-user"] if os.geteuid() else ["unshare", "--mount"]
    mount = f"mount -t tmpfs -o size=1m tmpfs {place}"
    if shutil.which("unshare") is None or subprocess.run([*words, "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    runner = " ".join(RUNNER)
    script = f"{mount} && {runner} run {DATA} --profile smoke; echo code $?; {runner} why --json > {tmp_path}/why.json"
    done = subprocess.run(
        [*words, "sh", "-c", script],
        cwd=scratch.project.root,
        env=scratch.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "why.json").read_text())
    assert told["failure"]["name"] == "disk-full", done.stdout + done.stderr
    assert any("the disk is full while" in line["text"] for line in told["excerpt"])
