"""What `runner reproduce` tells of two runs: outputs, final metrics, each step of each curve."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from runner.launch.reproduce import needed_environments, refuse_unrepeatable
from runner.provenance.compare_runs import Row, close, compare_runs, same
from runner.provenance.outputs import combined_hash
from runner.recipe.load import Refused
from runner.record import METRICS, Run
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench
from tests.provenance.made import CURVE, made_run


def recorded(path: Path, losses: list[float], files: dict[str, str], **metrics: Any) -> Run:
    path.mkdir()
    rows = [{"step": i, "loss": loss, "step_s": 0.1 * len(losses), "time": 5.0} for i, loss in enumerate(losses)]
    (path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = {"name": "model", "files": files, "sha256": combined_hash(files)}
    return Run(path, {"outputs": [output], "metrics": {"loss": losses[-1], **metrics}})


def differing(rows: list[Row]) -> list[tuple[str, str, bool]]:
    return [(row.part, row.name, row.decides) for row in rows if not row.same]


def test_equal_runs_are_the_same_however_long_they_took(tmp_path: Path) -> None:
    files = {"model.safetensors": "a" * 64, "training_args.bin": "b" * 64}
    one = recorded(tmp_path / "one", [3.0, 2.0], files, train_runtime=5.0, eval_samples_per_second=3)
    two = recorded(
        tmp_path / "two", [3.0, 2.0], {**files, "training_args.bin": "c" * 64}, train_runtime=9.0, tokens_per_s=4
    )
    rows = compare_runs(one, two)
    assert differing(rows) == [("output", "model/training_args.bin", False)]
    assert same(rows)


def test_one_other_step_is_found(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", [3.0, 2.0, 1.0], {"w": "a"})
    two = recorded(tmp_path / "two", [3.0, 2.0000001, 1.0], {"w": "a"})
    rows = compare_runs(one, two)
    assert differing(rows) == [("curve", "loss (1 of 3 steps differ)", True)]
    assert not same(rows)
    assert next(row for row in rows if not row.same).before == "2 at step 1"
    assert same(compare_runs(one, two, 1e-6))
    assert not same(compare_runs(one, two, 1e-9))


def test_with_a_tolerance_bytes_are_told_and_files_must_still_be_there(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", [1.0], {"w": "a", "x": "a"})
    other = recorded(tmp_path / "two", [1.0], {"w": "b", "x": "a"})
    assert not same(compare_runs(one, other))
    assert same(compare_runs(one, other, 1e-3))
    fewer = recorded(tmp_path / "three", [1.0], {"w": "a"})
    assert differing(compare_runs(one, fewer, 1e-3)) == [("output", "model/x", True)]


def test_a_curve_that_ends_early(tmp_path: Path) -> None:
    one, two = recorded(tmp_path / "one", [2.0, 1.0], {}), recorded(tmp_path / "two", [2.0], {})
    assert ("curve", "loss (1 of 2 steps differ)", True) in differing(compare_runs(one, two))


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "expected"),
    [
        (1.0, 1.0, 0.0, True),
        (1.0, 1.0 + 1e-12, 0.0, False),
        (1.0, 1.0005, 1e-3, True),
        (1.0, 1.002, 1e-3, False),
        (0.0, 1e-30, 0.5, False),
        (math.nan, math.nan, 0.0, True),
        (math.inf, math.inf, 0.0, True),
        (None, 1.0, 0.5, False),
        ("nan", "nan", 0.0, True),
        (True, 1, 0.0, True),
    ],
)
def test_close(a: Any, b: Any, tolerance: float, expected: bool) -> None:
    assert close(a, b, tolerance) is expected


def test_what_can_be_made_again_and_what_not(bench: Bench) -> None:
    data = bench.project.root / "mine.jsonl"
    data.write_text("{}\n")
    bench.write("r", (HEADER + BODY).replace("path: yahma/alpaca-cleaned", "path: mine.jsonl\n    ds_type: json"))
    run = made_run(bench.project, "r")
    refuse_unrepeatable(bench.project, run)
    (need,) = needed_environments(run)
    assert need.env.path.name == run.record["environments"][0]["folder"]

    def code(given: Run) -> str:
        with pytest.raises(Refused) as refused:
            refuse_unrepeatable(bench.project, given)
        return refused.value.diagnostics[0].code

    assert code(Run(run.path, run.record | {"status": "failed"})) == "R457"
    assert code(Run(run.path, run.record | {"engine": {"name": "make"}})) == "R457"
    assert code(Run(run.path, {k: v for k, v in run.record.items() if k != "files"})) == "R455"
    data.write_text("[]\n")
    assert code(run) == "R460"
    data.write_text("{}\n")
    (run.path / "launch.sh").write_text("true\n")
    assert code(run) == "R459"


def test_an_environment_that_is_not_here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("r")
    run = made_run(bench.project, "r")
    monkeypatch.setenv("RUNNER_CACHE", str(bench.project.root / "no-cache"))
    (need,) = needed_environments(run)
    assert not need.env.ready
    assert need.lock is not None
    assert need.lock.is_file(), "it is built from the lock that the run kept"
    other = {"engine": "axolotl", "folder": "axolotl-0123456789ab"}
    with pytest.raises(Refused) as refused:
        needed_environments(Run(run.path, run.record | {"environments": [other]}))
    assert refused.value.diagnostics[0].code == "R456"


def test_the_command_compares_what_is_there(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    one, two = made_run(bench.project, "r"), made_run(bench.project, "r")
    done = invoke("reproduce", str(one.path), "--against", str(two.path))
    assert done.code == 0, done.out + done.err
    assert "result    the same" in done.out
    rows = [{**row, "loss": row["loss"] + 1e-7} for row in CURVE]
    (two.path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke("reproduce", str(one.path), "--against", str(two.path))
    assert done.code == 1
    assert "loss (3 of 3 steps differ)" in done.out
    assert invoke("reproduce", str(one.path), "--against", str(two.path), "--tolerance", "1e-5").code == 0
