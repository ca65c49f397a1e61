"""Loss curves: what is drawn is what was reported, beside what the recipe expects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.report.curves import Curve, curve_of, draw_curves


def run_of(folder: Path, *rows: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_points_are_by_step_and_the_last_report_of_a_step_counts(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        {"step": 0, "event": "begin"},
        {"step": 10, "loss": 3.0},
        {"step": 20, "loss": 2.5},
        {"step": 10, "loss": 2.9},  # gone through again after an interruption
        {"step": 20, "eval_loss": 2.6, "eval_runtime": 1.0},
        {"step": 30, "loss": "nan"},
    )
    found = curve_of("r", run, {})
    assert found.points == {"loss": [(10, 2.9), (20, 2.5)], "eval_loss": [(20, 2.6)]}


@pytest.mark.parametrize(
    ("points", "wanted", "got"),
    [
        ([(90, 2.0), (100, 1.9)], 100, 1.9),
        ([(90, 2.0), (99, 1.9)], 100, 1.9),  # within a fiftieth of the run
        ([(90, 2.0)], 100, None),
        ([], 100, None),
    ],
)
def test_expectations_meet_the_closest_report(
    points: list[tuple[float, float]], wanted: float, got: float | None
) -> None:
    curve = Curve("r", {"eval_loss": points} if points else {}, {"eval_loss": [(wanted, 1.5)]})
    assert curve.compared() == [("eval_loss", wanted, 1.5, got)]


def test_figures_are_written_twice_and_the_same_each_time(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": 5 / (i + 1)} for i in range(100)]
    curves = [curve_of(f"r{i}", run_of(tmp_path / f"r{i}", *rows), {"loss": [(50, 0.1)]}) for i in range(4)]
    curves.append(Curve("nothing", {}))
    png, svg = draw_curves(curves, "five", tmp_path / "out" / "five.png")
    assert png.read_bytes().startswith(b"\x89PNG")
    first = svg.read_text()
    assert "<svg" in first
    draw_curves(curves, "five", tmp_path / "out" / "five.png")
    assert svg.read_text() == first
