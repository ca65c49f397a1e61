"""Two nodes, really: by hand over hosts.sh, and on a Slurm cluster that is asked for a checkpoint and loses a node."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.launch.local import MARK, end_stragglers, marked
from runner.record import runs
from tests.engine.conftest import RUNNER, Smoke
from tests.engine.slurm import Cluster, missing, started
from tests.engine.stand_ins import nightly

NAME = "phase1/two-nodes"
RECIPE = """\
recipe: 1
kind: causal-lm
title: A GPT on two nodes
week: 1
box: cpu
architecture: {model_type: gpt2, n_layer: 2, n_head: 2, n_embd: 64, n_positions: 64, vocab_size: 384}
tokenizer_config: gpt2
datasets: [{path: HuggingFaceFW/fineweb-edu}]
sequence_len: 64
per_device_train_batch_size: 4
learning_rate: 1e-3
max_steps: 100
save_steps: 10
profiles:
  smoke: {sequence_len: 64, max_steps: 150, save_steps: 15, eval_steps: 150, logging_steps: 1}
"""
BOX = "slurm-2xcpu"
STEPS = 150  # enough that a fast machine is still at it when it is interrupted


@pytest.fixture(scope="module")
def written(scratch: Smoke) -> Path:
    file = scratch.project.recipe_file(NAME)
    file.write_text(RECIPE)
    return file


def rows(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def losses(run: Path) -> dict[int, float]:
    """By step; of a step that was done again, the last."""
    return {row["step"]: row["loss"] for row in rows(run) if "loss" in row}


def saves(run: Path, upto: int | None = None) -> list[int]:
    """Steps of which a checkpoint was saved, up to the so-manieth time that it began again."""
    told = rows(run)
    begins = [i for i, row in enumerate(told) if row.get("event") == "begin"]
    end = begins[upto] if upto is not None else len(told)
    return [row["step"] for row in told[:end] if row.get("event") == "save"]


def until(there: Callable[[], Any], seconds: float = 600, following: subprocess.Popen[str] | None = None) -> Any:
    """What `there` gives as soon as it is something; not after the runner that follows it has ended."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline
        assert following is None or following.poll() is None, following.communicate()[0] if following else ""
        time.sleep(0.2)
    return found


# --- by hand ---


@pytest.fixture
def reach(tmp_path: Path) -> dict[str, str]:
    """By what hosts.sh gets onto its hosts: both are this machine."""
    rsh = tmp_path / "rsh"
    rsh.write_text('#!/bin/bash\necho "onto $1" >&2\nexec bash -c "$2"\n')
    rsh.chmod(0o755)
    return {"RSH": str(rsh), "MASTER_PORT": str(29400 + os.getpid() % 500)}


@pytest.fixture(scope="module")
def whole(scratch: Smoke, written: Path) -> dict[int, float]:
    """The losses of an uninterrupted run on one machine's two processes, which other tests are held against."""
    return {}


@nightly
def test_by_hand(scratch: Smoke, written: Path, whole: dict[int, float], reach: dict[str, str], tmp_path: Path) -> None:
    """hosts.sh starts a part on each of two hosts, which meet; the second one says nothing of the steps."""
    folder = tmp_path / "by-hand"
    made = scratch.call("render", NAME, "--profile", "smoke", "--box", BOX, "--out", str(folder))
    assert made.returncode == 0, made.stderr
    (tmp_path / "hosts").write_text("# two\n127.0.0.1 slots=1\n\n127.0.0.2\n127.0.0.3\n")
    env = {**scratch.env, **reach}
    done = subprocess.run(
        ["bash", "hosts.sh", str(tmp_path / "hosts")], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("=== train") == 1
    assert re.findall(r"onto (\S+)", done.stderr) == ["127.0.0.1", "127.0.0.2"]
    found = losses(folder)
    assert sorted(found) == list(range(1, STEPS + 1))
    assert found[STEPS] < found[1] - 0.5
    assert sorted(p.name for p in (folder / "measured").glob("rank-*.json")) == ["rank-0.json", "rank-1.json"]
    whole |= found


def test_a_host_that_is_not_there_ends_all(
    scratch: Smoke, written: Path, reach: dict[str, str], tmp_path: Path
) -> None:
    """The first one waits for the second; when that one's ssh fails, nothing is left of either."""
    folder = tmp_path / "by-hand"
    assert scratch.call("render", NAME, "--profile", "smoke", "--box", BOX, "--out", str(folder)).returncode == 0
    rsh = Path(reach["RSH"])
    rsh.write_text(rsh.read_text().replace("\nexec", '\n[ "$1" != 127.0.0.2 ] || { sleep 3; exit 255; }\nexec'))
    (tmp_path / "hosts").write_text("127.0.0.1\n127.0.0.2\n")
    env = {**scratch.env, **reach, MARK: str(folder)}
    done = subprocess.run(
        ["bash", "hosts.sh", str(tmp_path / "hosts")], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 255
    until(lambda: not marked(folder), 40)


# --- Slurm ---


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if lacking := missing():
        pytest.skip(f"no Slurm here: {', '.join(lacking)}")
    with started(tmp_path_factory.mktemp("slurm") / "cluster", nodes=3) as cluster:
        yield cluster


def follow(scratch: Smoke, slurm: Cluster, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*RUNNER, "run", NAME, "--profile", "smoke", "--box", BOX, *options],
        cwd=scratch.project.root,
        env={**scratch.env, **{k: slurm.env[k] for k in ("PATH", "SLURM_CONF")}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_slurm_takes_what_is_rendered(scratch: Smoke, written: Path, slurm: Cluster, tmp_path: Path) -> None:
    made = scratch.call("render", NAME, "--profile", "smoke", "--box", BOX, "--out", str(tmp_path / "r"))
    assert made.returncode == 0, made.stderr
    done = subprocess.run(
        ["sbatch", "--test-only", "job.sbatch"], cwd=tmp_path / "r", env=slurm.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "2 processors on nodes n[1-2]" in done.stderr


def test_slurm_refuses_in_its_own_words(scratch: Smoke, written: Path, slurm: Cluster) -> None:
    box = scratch.project.root / "boxes/own.yaml"
    box.parent.mkdir(exist_ok=True)
    box.write_text("gpus: 0\nnodes: 2\nnetwork_gb_s: 1\nscheduler: {type: slurm, partition: nowhere}\n")
    done = follow(scratch, slurm, "--box", "own")
    said, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "error[R344]: Slurm does not take the job" in said
    assert "invalid partition" in said


def test_a_job_goes_on_after_the_limit_and_after_a_lost_node(
    scratch: Smoke, written: Path, slurm: Cluster, whole: dict[int, float]
) -> None:
    """Followed, left alone, found again; asked for a checkpoint as before its time limit, queued again by itself; a
    node lost, queued again by Slurm; and the loss of each step is that of a run which nothing happened to."""
    first = follow(scratch, slurm)
    run = until(lambda: next((r.path for r in runs(scratch.project, NAME, "smoke") if "job" in r.record), None))
    until(lambda: len(losses(run)) > 3, following=first)
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "goes on" in said
    record = runs(scratch.project, NAME, "smoke")[0].record
    job = record["job"]["id"]
    assert record["status"] == "running"
    # as Slurm does before the limit
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], env=slurm.env, check=True)
    second = follow(scratch, slurm)
    until(lambda: saves(run), following=second)
    until(lambda: [row for row in rows(run) if row.get("event") == "begin"][1:], following=second)
    # as it was told to end it saved once more, of the step that it had come to
    saved = saves(run, upto=1)
    until(lambda: [step for step in saves(run) if step > saved[-1]], following=second)
    assert slurm.lose_node("n2") >= 3, "bash, torchrun and the rank"
    (run / "output/checkpoint-999").mkdir()  # as if it was lost while it saved: engines would take the newest
    said, _ = second.communicate(timeout=900)
    assert second.returncode == 0, said + (run / "log.txt").read_text()[-3000:]
    assert f"Slurm job {job} on n[1-2]" in said
    assert f"Slurm job {job} on n[1,3]" in said
    record = runs(scratch.project, NAME, "smoke")[0].record
    assert (record["status"], record["job"]["id"], record["job"]["state"]) == ("finished", job, "COMPLETED")
    events = [(event["event"], event["restart"]) for event in record["job"]["events"]]
    assert events[:3] == [("start", 0), ("requeue", 0), ("start", 1)]
    assert events[-1] == ("end", 2)
    begins = [row["step"] for row in rows(run) if row.get("event") == "begin"]
    assert begins[0] == 0
    assert begins[1] == saved[-1]
    assert any(step % 15 for step in saved), "one was asked for, beside those of `save_steps`"
    assert begins[2] > begins[1]
    found = losses(run)
    assert sorted(found) == list(range(1, STEPS + 1))
    assert "output/checkpoint-999 is torn" in (run / "log.txt").read_text()
    if whole:
        assert found == pytest.approx(whole, abs=1e-4)
    end_stragglers(run)


def test_a_job_is_cancelled(scratch: Smoke, written: Path, slurm: Cluster) -> None:
    done = follow(scratch, slurm, "--set", "learning_rate=2e-3", "--detach")
    said, _ = done.communicate(timeout=60)
    assert done.returncode == 0, said
    followed = follow(scratch, slurm, "--set", "learning_rate=2e-3")
    stopped = subprocess.run(
        [*RUNNER, "stop", NAME],
        cwd=scratch.project.root,
        env={**scratch.env, **slurm.env},
        capture_output=True,
        text=True,
    )
    assert "cancelled Slurm job" in stopped.stderr
    said, _ = followed.communicate(timeout=90)
    assert followed.returncode == 130, said
    assert runs(scratch.project, NAME, "smoke")[0].status == "interrupted"
