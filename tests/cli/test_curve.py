"""`runner curve`, `runner collect` and `runner sample`: what they say of runs, and of there being none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.record import RECORD, point_latest, profile_dir, write_json
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench


def ran(bench: Bench, name: str, outputs: list[dict[str, str]] | None = None) -> Path:
    run = profile_dir(bench.project, name, "full") / "20260101-000000"
    run.mkdir(parents=True)
    rows = [{"step": step, "max_steps": 40, "loss": 4 - step / 20} for step in range(0, 41, 10)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(run / RECORD, {"run": run.name, "status": "finished", "outputs": outputs or [], "metrics": {}})
    point_latest(run)
    return run


def test_a_curve_beside_what_was_expected(bench: Bench, invoke: Invoke) -> None:
    bench.write("phase1/r", HEADER + BODY + "expect: {loss: [[20, 3.5], [400, 1.0]]}\n")
    ran(bench, "phase1/r")
    code, out, err = invoke("curve", "phase1/r")
    assert (code, err) == (0, "")
    head, near, far, *files = out.splitlines()
    assert head.split() == ["recipe", "metric", "step", "expected", "measured", "difference"]
    assert near.split() == ["phase1/r", "loss", "20", "3.5", "3", "-0.5"]
    assert far.split() == ["phase1/r", "loss", "400", "1", "-", "-"]
    assert files == ["artifacts/curves/phase1-r-full.png", "artifacts/curves/phase1-r-full.svg"]
    assert (bench.project.root / files[0]).read_bytes().startswith(b"\x89PNG")


def test_a_phase_is_all_its_recipes_that_ran(bench: Bench, invoke: Invoke) -> None:
    for name in ("phase1/a", "phase1/b", "phase1/never", "phase2/c"):
        bench.write(name)
    for name in ("phase1/a", "phase1/b", "phase2/c"):
        ran(bench, name)
    assert invoke("curve", "phase1").code == 0
    svg = (bench.project.root / "artifacts/curves/phase1-full.svg").read_text()
    assert svg.count("<!-- phase1/") == 2


def test_nothing_ran(bench: Bench, invoke: Invoke) -> None:
    bench.write("phase1/r")
    said = invoke("curve", "phase1/r", "--profile", "smoke")
    assert said.code == 1
    assert "nothing of `phase1/r` has run in profile `smoke` yet" in said.err
    for command in ("collect", "sample"):
        said = invoke(command, "phase1/r")
        assert (said.code, "R410" in said.err) == (1, True), command


@pytest.mark.parametrize("name", ["../x", "a b", "nobody/there"])
def test_names_that_are_none(bench: Bench, invoke: Invoke, name: str) -> None:
    for command in ("curve", "collect", "sample"):
        said = invoke(command, name)
        assert said.code == 1, command
        assert "error[R" in said.err


def test_what_leaves_no_model_can_not_be_sampled(bench: Bench, invoke: Invoke) -> None:
    bench.write("phase1/r")
    ran(bench, "phase1/r", [{"name": "table", "type": "table", "path": "output"}])
    said = invoke("sample", "phase1/r")
    assert said.code == 1
    assert "leaves no model to sample from" in said.err
