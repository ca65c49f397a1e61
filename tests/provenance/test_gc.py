"""`runner gc`: nothing goes that something else needs, and nothing is left in halves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from filelock import FileLock

from runner.launch import gc
from runner.launch.gc import Item, Policy, collect, plan_gc
from runner.launch.local import MARK
from runner.recipe.load import Refused
from runner.record import RECORD, Run, read_run
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench
from tests.provenance.made import made_run

ONE = Policy(keep=1)


def why(bench: Bench, policy: Policy = ONE) -> dict[str, tuple[bool, str]]:
    return {item.run.id: (item.remove, item.why) for item in plan_gc(bench.project, policy) if not item.part}


def edit(run: Run, **changes: object) -> None:
    (run.path / RECORD).write_text(json.dumps(run.record | changes))


@pytest.fixture
def runs(bench: Bench) -> list[Run]:
    """Four of one recipe: two finished, one failed, and the newest, which has finished."""
    bench.write("r")
    states = ("finished", "finished", "failed", "finished")
    return [made_run(bench.project, "r", status=s, id=f"2026010{i + 1}-000000") for i, s in enumerate(states)]


def test_the_newest_are_kept(bench: Bench, runs: list[Run]) -> None:
    assert why(bench) == {
        runs[0].id: (True, "2 newer of its recipe are there"),
        runs[1].id: (True, "1 newer of its recipe are there"),
        runs[2].id: (False, "the policy keeps it"),
        runs[3].id: (False, "the newest, which others start from"),
    }
    assert [i.run.id for i in plan_gc(bench.project, Policy(keep=2)) if i.remove] == [runs[0].id]
    assert [i for i in plan_gc(bench.project, Policy(keep=3)) if i.remove] == []
    assert why(bench, Policy(keep=1, failed=True))[runs[2].id] == (True, "it is failed")


def test_only_what_is_older(bench: Bench, runs: list[Run]) -> None:
    old = (datetime.now(timezone.utc) - timedelta(days=40)).isoformat()
    edit(runs[0], started=old)
    going = [i.run.id for i in plan_gc(bench.project, Policy(keep=1, older=timedelta(days=30))) if i.remove]
    assert going == [runs[0].id]


def test_what_a_kept_run_was_made_from_stays_however_far_up(bench: Bench) -> None:
    bench.write("a", HEADER + BODY + "merge: true\n")
    for name, below in (("b", "a"), ("c", "b")):
        text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", f"${{needs.{below}.model}}")
        bench.write(name, text + f"merge: true\nneeds: {{{below}: {below}}}\n")
    first = made_run(bench.project, "a")
    second, third = made_run(bench.project, "b"), made_run(bench.project, "c")
    for name in ("a", "b"):
        made_run(bench.project, name, id="29990101-000000")  # newer, which `latest` names now
    told = {item.run.path: (item.remove, item.why) for item in plan_gc(bench.project, ONE)}
    assert told[first.path] == (False, f"`b` run {second.id} stands on it") or told[first.path][0] is False
    assert told[second.path] == (False, f"`c` run {third.id} stands on it")
    shutil.rmtree(third.path)
    assert {i.run.path for i in plan_gc(bench.project, ONE) if i.remove} >= {second.path}


def test_pinned_locked_and_unfinished_runs_stay(bench: Bench, runs: list[Run]) -> None:
    (runs[0].path / gc.PIN).touch()
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.r.adapter}")
    bench.write("next", text + "needs: {r: r}\n")
    identity = "f" * 64
    edit(runs[1], identity=identity)
    lock = f"lock: 1\nfull:\n  upstream:\n    r: {{recipe: r, identity: {identity}}}\n"
    bench.project.recipe_file("next").with_suffix(".lock").write_text(lock)
    last = made_run(bench.project, "r", status="interrupted", id="20260105-000000")
    told = why(bench, Policy(keep=1, failed=True))
    assert told[runs[0].id] == (False, "pinned")
    assert told[runs[1].id] == (False, "the lock of `next` names it")
    assert told[last.id] == (False, "the next run of its recipe goes on from it")


def test_what_runs_stays(bench: Bench, runs: list[Run]) -> None:
    run = made_run(bench.project, "r", status="running", id="20260105-000000")
    long_ago = (datetime.now(timezone.utc) - timedelta(days=3)).isoformat()
    every = Policy(keep=1, failed=True)
    assert why(bench, every)[run.id] == (False, "it says that it runs"), "perhaps on another machine"
    edit(run, started=long_ago)
    assert why(bench, every)[run.id] == (True, "it is running")
    with FileLock(run.path.parent / ".lock"):
        assert why(bench, every)[run.id] == (False, "it runs")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={MARK: str(run.path)})
    try:
        assert why(bench, every)[run.id] == (False, "it runs")
    finally:
        process.communicate(b"\n")


def test_an_endpoint_and_what_it_serves_stay(bench: Bench, runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process that carries the endpoint's mark, and the link by which `runner ps` finds it."""
    from runner.launch import endpoints

    monkeypatch.setenv("RUNNER_CACHE", str(bench.project.root / "cache"))
    served = made_run(bench.project, "r", status="stopped", id="20260100-000000")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={MARK: str(served.path)})
    edit(
        served,
        upstream=[{"alias": "r", "recipe": "r", "run": runs[0].id, "path": f"../{runs[0].id}"}],
        pid=process.pid,
    )
    (served.path / endpoints.STATE).write_text(json.dumps({"status": "ready", "pid": process.pid}))
    endpoints.remember(served.path)
    try:
        told = why(bench, Policy(keep=1, failed=True))
    finally:
        process.communicate(b"\n")
    assert told[served.id] == (False, "it is served")
    assert told[runs[0].id] == (False, f"`r` run {served.id} stands on it")
    assert told[runs[1].id][0] is True


def test_checkpoints_alone(bench: Bench, runs: list[Run], invoke: Invoke) -> None:
    policy = Policy(keep=3, checkpoints=True)
    items = [item for item in plan_gc(bench.project, policy) if item.remove]
    assert {item.run.id for item in items} == {runs[0].id, runs[1].id, runs[3].id}
    assert len(list(collect(bench.project, items))) == 3
    assert not list(bench.project.artifacts.rglob("checkpoint-*"))
    assert (runs[3].path / "output/adapter_model.safetensors").exists()
    assert invoke("verify", "r", "--deep").code == 0


def test_it_is_a_dry_run_unless_told(bench: Bench, runs: list[Run], invoke: Invoke) -> None:
    done = invoke("gc", "--keep", "1")
    assert done.code == 0, done.err
    assert "nothing was removed: add --yes" in done.out
    assert runs[0].path.exists()
    done = invoke("gc", "--keep", "1", "--yes")
    assert "freed " in done.out
    assert not runs[0].path.exists()
    assert runs[3].path.exists()
    assert not (bench.project.artifacts / gc.TRASH).exists()
    assert invoke("gc", "--pin", str(runs[2].path)).code == 0
    assert (runs[2].path / gc.PIN).exists()
    assert invoke("gc", "--older-than", "a while").code == 2


def test_killed_in_the_middle_it_leaves_whole_runs(
    bench: Bench, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting is what takes long; by then the run is out of its place, in one step."""

    def killed(path: Path) -> None:
        (path / RECORD).unlink()  # half of it gone
        raise KeyboardInterrupt

    going = [i for i in plan_gc(bench.project, ONE) if i.remove]
    monkeypatch.setattr(gc.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        list(collect(bench.project, going))
    monkeypatch.undo()
    there = sorted(p for p in runs[0].path.parent.iterdir() if p.is_dir() and not p.is_symlink())
    assert all(read_run(p) is not None for p in there)
    assert runs[0].path not in there
    assert runs[1].path in there
    assert len(list(collect(bench.project, [i for i in plan_gc(bench.project, ONE) if i.remove]))) == 1
    assert not (bench.project.artifacts / gc.TRASH).exists()


def test_a_run_that_began_meanwhile_is_left_alone(bench: Bench, runs: list[Run]) -> None:
    going = [i for i in plan_gc(bench.project, ONE) if i.remove]
    with FileLock(runs[0].path.parent / ".lock"):
        assert list(collect(bench.project, going)) == []
    assert runs[0].path.exists()


def test_a_disk_that_does_not_let_it(bench: Bench, runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.project.artifacts / gc.TRASH).write_text("a file in its place")
    going: list[Item] = [i for i in plan_gc(bench.project, ONE) if i.remove]
    with pytest.raises(Refused) as refused:
        list(collect(bench.project, going))
    assert refused.value.diagnostics[0].code == "R462"
    assert runs[0].path.exists()
