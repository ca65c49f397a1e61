"""A real sweep: a killed child is named and retried alone, and a size added later reuses what is done."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.launch.local import MARK
from runner.record import runs
from tests.engine.conftest import RUNNER, Smoke
from tests.engine.slurm import cluster, missing
from tests.engine.stand_ins import nightly

SWEEP = """\
recipe: 1
kind: sweep
title: Three learning rates
week: 1
base: phase1/gpt-nano
points:
  - {name: low, learning_rate: 1e-4}
  - {name: high, learning_rate: 1e-2, max_steps: 100000}
profiles:
  smoke:
    set: {max_steps: 30, eval_steps: 30, save_steps: 30, warmup_steps: 3, logging_steps: 10}
"""
NAME = "phase1/three-rates"


def trainer_of(child: Path) -> int | None:
    """The process that trains in a child's run."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"{MARK}={child}".encode() in (entry / "environ").read_bytes()
            if ours and b"trainer" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    return None


@pytest.fixture(scope="module")
def written(scratch: Smoke) -> Path:
    need = scratch.call("run", "phase1/data-shakespeare", "--profile", "smoke")
    assert need.returncode == 0, need.stderr
    file = scratch.project.recipe_file(NAME)
    file.write_text(SWEEP)
    return file


@pytest.mark.fault("a child of a sweep is killed", "the other children; it alone is run again")
def test_a_killed_child_fails_alone_and_is_retried_alone(scratch: Smoke, written: Path) -> None:
    project = scratch.project
    sweep = subprocess.Popen(
        [*RUNNER, "run", NAME, "--profile", "smoke"], cwd=project.root, env=scratch.env, stdout=-1, stderr=-2, text=True
    )
    victim = None
    deadline = time.monotonic() + 240
    while victim is None and sweep.poll() is None and time.monotonic() < deadline:
        for run in runs(project, f"{NAME}/high", "smoke"):
            if (run.path / "metrics.jsonl").exists():  # it trains
                victim = trainer_of(run.path)
        time.sleep(0.2)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    said, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 4
    assert "1 of the sweep's children failed: high" in said
    (low,) = runs(project, f"{NAME}/low", "smoke")
    assert low.status == "finished"
    assert runs(project, f"{NAME}/high", "smoke")[0].status == "failed"

    # again, and short enough to end: the other child is not run again
    written.write_text(SWEEP.replace(", max_steps: 100000", ""))
    again = scratch.call("run", NAME, "--profile", "smoke")
    assert again.returncode == 0, again.stdout + again.stderr
    assert [r.id for r in runs(project, f"{NAME}/low", "smoke")] == [low.id]
    rows = list(csv.DictReader((scratch.run(NAME).path / "output/runs.csv").open()))
    assert [row["child"] for row in rows] == ["low", "high"]
    for row in rows:
        assert float(row["flops"]) == 6 * float(row["params"]) * float(row["tokens"])
        assert 0 < float(row["loss"]) < 9


def test_a_point_added_later_reuses_what_is_done(scratch: Smoke, written: Path) -> None:
    project = scratch.project
    before = {name: runs(project, f"{NAME}/{name}", "smoke")[0].id for name in ("low", "high")}
    written.write_text(
        SWEEP.replace(", max_steps: 100000", "").replace(
            "profiles:", "  - {name: middle, learning_rate: 1e-3}\nprofiles:"
        )
    )
    done = scratch.call("run", NAME, "--profile", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: runs(project, f"{NAME}/{name}", "smoke")[0].id for name in before} == before
    record = scratch.run(NAME).record
    assert record["metrics"]["children"] == 3
    assert json.loads((scratch.run(NAME).path / "points.json").read_text()).keys() == {"low", "high", "middle"}
    shown = scratch.call("collect", NAME, "--profile", "smoke").stdout
    assert len(shown.splitlines()) == 4


@nightly
@pytest.mark.skipif(bool(missing()), reason=f"no Slurm here: {', '.join(missing())}")
def test_a_slurm_array_takes_the_children(scratch: Smoke, written: Path, tmp_path: Path) -> None:
    """The same children as tasks of an array, on the two nodes of a real Slurm; a second call finds them done."""
    name = "phase1/array"
    scratch.project.recipe_file(name).write_text(
        SWEEP.replace(", max_steps: 100000", "") + "    scheduler: slurm\n    slurm: {time: '10'}\n"
    )
    with cluster(tmp_path / "slurm") as env:
        done = subprocess.run(
            [*RUNNER, "run", name, "--profile", "smoke"],
            cwd=scratch.project.root,
            env={**scratch.env, **{k: env[k] for k in ("PATH", "SLURM_CONF")}},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        jobs = (tmp_path / "slurm/done.txt").read_text()
    assert jobs.count("JobState=COMPLETED") == 2
    assert {"NodeList=n1", "NodeList=n2"} <= set(jobs.split())
    run = scratch.run(name).path
    assert sorted(p.name for p in run.glob("slurm/*.log")) == ["0.log", "1.log"]
    assert "child low starts" in (run / "slurm/0.log").read_text()
    assert len(list(csv.DictReader((run / "output/runs.csv").open()))) == 2
