"""A sweep renders to files that make carries out: each child alone, in a slot of its own, and failures by name."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from runner.engines.make import failure, slots, steps
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.resolve import Recipe, resolve
from runner.render import render
from tests.conftest import Bench
from tests.recipe.test_sweep import BASE, ISOFLOP, SWEEP

# stands in for the runner: says on which GPUs a child was, and for how long two were there at once
RECORDER = """#!/usr/bin/env bash
# python -m runner run --profile full --as s/NAME ...
if [ "$3" != run ]; then exit 0; fi
echo "start $7 ${CUDA_VISIBLE_DEVICES:-none}" >> "$LOG"
sleep 0.3
echo "end $7 ${CUDA_VISIBLE_DEVICES:-none}" >> "$LOG"
case "$7" in *fails*) exit 4;; esac
"""


def sweep(bench: Bench, text: str, profile: str = "full", base: str = BASE) -> Recipe:
    bench.write("base", base)
    doc = compose(bench.project, bench.write("s", SWEEP + text), profile=profile)
    return resolve(bench.project, doc, profile, lambda r, p: None, library=Library(bench.project, profile))


def test_what_is_rendered(bench: Bench) -> None:
    recipe = sweep(bench, ISOFLOP + "fit: [chinchilla, isoflop]\n")
    files = render(recipe)
    names = [child.name for child in recipe.children]
    assert set(files) == {
        "launch.sh", "sweep.mk", "child.sh", "points.json", *(f"children/{name}.yaml" for name in names)
    }  # fmt: skip
    points = json.loads(files["points.json"])
    assert list(points) == names
    assert points[names[0]]["parameters"] == recipe.children[0].parameters
    assert "fit output/runs.csv --law isoflop --out output/isoflop" in files["launch.sh"]
    assert [s.name for s in steps(recipe)] == ["children", "collect", "fit"]
    for name in ("launch.sh", "child.sh"):
        assert subprocess.run(["bash", "-n"], input=files[name], text=True).returncode == 0


@pytest.mark.parametrize(
    ("text", "profile", "found"),
    [
        (ISOFLOP, "full", 2),
        (ISOFLOP + "parallel: 1\n", "full", 1),
        (ISOFLOP + "parallel: 16\n", "full", 2),
        (ISOFLOP + "box: 8xh100\n", "full", 4),  # as many as there are children
        (ISOFLOP + "set: {box: 2xh100}\n", "full", 1),
        ("points: [{name: a}, {name: b}, {name: c}]\n", "smoke", 2),
    ],
)
def test_slots(bench: Bench, text: str, profile: str, found: int) -> None:
    assert slots(sweep(bench, text, profile)) == found


@pytest.mark.parametrize(
    ("text", "profile", "found"), [("box: cpu\nparallel: 1\n", "full", 2), ("parallel: 1\n", "smoke", 1)]
)
def test_children_do_not_have_more_threads_than_the_cores(bench: Bench, text: str, profile: str, found: int) -> None:
    """In smoke a child may be two ranks, each with as many."""
    recipe = sweep(bench, text + "points: [{name: a, box: cpu}, {name: b, box: cpu}]\n", profile)
    assert recipe.box.cores == 2
    assert f'OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{found}}}"' in render(recipe)["child.sh"]


def carried_out(bench: Bench, recipe: Recipe, folder: Path) -> tuple[int, list[list[str]], str]:
    for name, text in render(recipe).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    python = folder / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(RECORDER)
    python.chmod(0o755)
    log = folder / "log"
    env = {**os.environ, "RUNNER_ENV": str(folder / "env"), "LOG": str(log)}
    done = subprocess.run(["bash", "launch.sh"], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, [line.split() for line in log.read_text().splitlines()], done.stdout + done.stderr


def test_no_two_children_share_a_gpu(bench: Bench, tmp_path: Path) -> None:
    points = ", ".join(f"{{name: p{i}}}" for i in range(6))
    code, events, _ = carried_out(bench, sweep(bench, f"points: [{points}]\n"), tmp_path / "run")
    assert code == 0
    busy: set[str] = set()
    most = 0
    for what, _, gpu in events:
        assert (gpu in busy) == (what == "end"), events
        busy ^= {gpu}
        most = max(most, len(busy))
    assert {gpu for _, _, gpu in events} == {"0", "1"}
    assert most == 2
    assert len(events) == 12


def test_a_failed_child_stops_no_other_and_is_named(bench: Bench, tmp_path: Path) -> None:
    recipe = sweep(bench, "points: [{name: fails}, {name: b}, {name: c}]\n")
    code, events, said = carried_out(bench, recipe, tmp_path / "run")
    assert code != 0
    assert len([e for e in events if e[0] == "end"]) == 3
    told = failure(said)
    assert told == "1 of the sweep's children failed: fails; run it again to retry these alone"


def test_other_steps_failures_are_their_own_words() -> None:
    log = "=== children\n=== fit\nruns.csv:1:1: error[R601]: too few points\n  = help: more\n"
    assert failure(log) == "runs.csv:1:1: error[R601]: too few points"
    assert failure("=== children\nchild a starts\n") is None


def test_a_slurm_array_has_a_task_for_each_child(bench: Bench) -> None:
    files = render(sweep(bench, ISOFLOP + "scheduler: slurm\nslurm: {partition: gpu, time: '12:00:00'}\n"))
    lines = files["array.sbatch"].splitlines()
    for option in ("array=0-3%2", "gres=gpu:1", "partition=gpu", "time=12:00:00"):
        assert f"#SBATCH --{option}" in lines
    assert "flock" not in files["child.sh"], "Slurm gives out the GPUs"
    assert "sbatch --wait" in files["launch.sh"]
    assert "array.sbatch" not in render(sweep(bench, ISOFLOP))


def test_without_slurm_it_says_so(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "mkdir", "cat"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/log").write_text("")
    code, _, said = carried_out(bench, sweep(bench, ISOFLOP + "scheduler: slurm\n"), tmp_path / "run")
    assert code == 1
    assert failure(said) == "error: there is no sbatch here; `scheduler: slurm` needs a machine that submits to Slurm"
