"""Runs of training side by side: figures and their differences, settings with their places, and what chance does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.comparison.compare import Entry, Options, compare
from runner.comparison.noise import alike, band, noise
from runner.comparison.runs import TAIL, figures, flattened, read_compared, tail_loss
from runner.comparison.tables import Row, Table
from runner.recipe.load import Refused
from runner.record import write_json
from runner.report.comparison_plots import draw


def ran(folder: Path, loss: float = 1.0, **values: Any) -> Path:
    """A run of twenty steps that ends with this loss, an hour on two H100."""
    folder.mkdir(parents=True)
    rows = [{"step": step, "loss": loss + (20 - step) / 10} for step in range(1, 21)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = {
        "status": "finished",
        "box": "2xh100",
        "seconds": 3600.0,
        "values": {"lora_r": 8, **values},
        "predicted": {"memory.peak_gib": 50.0},
        "measured": {"memory.peak_gib": 40.0 * loss, "speed.tokens_per_s_per_gpu": 1000.0},
        "metrics": {"loss": loss},
        "engine": {"environment": "axolotl-1", "versions": {"torch": "2.13.0"}},
    }
    write_json(folder / "run.json", record)
    return folder


def by(table: Table, head: str) -> dict[str, Row]:
    return {str(row[head]): row for row in table.rows}


def compared(*entries: Entry) -> dict[str, Table]:
    return compare(entries, Options()).others


def test_figures_stand_beside_each_other(tmp_path: Path) -> None:
    one, two = ran(tmp_path / "a/full/1", 1.0), ran(tmp_path / "b/full/1", 1.5, lora_r=16)
    found = compared(Entry("a", run=one), Entry("b", run=two, origins={"lora_r": "b.yaml:3"}))
    rows = by(found["figures"], "figure")
    assert rows["loss"] == {"figure": "loss", "a": 1.0, "b": 1.5, "b - a": 0.5, "b / a": 1.5}
    assert rows["peak (GiB)"]["b - a"] == 20.0
    assert rows["cost (USD)"]["a"] == pytest.approx(8.38)
    assert next(iter(rows)) == "loss"
    [plan] = found["predicted"].rows
    assert (plan["a ratio"], plan["b ratio"]) == (0.8, 1.2)
    [setting] = found["settings"].rows
    assert setting == {"key": "lora_r", "a": "8", "b": "16", "b set at": "b.yaml:3"}
    assert found["environment"].rows == []
    assert "no two runs here are alike" in found["figures"].notes[0]


def test_what_one_lacks_is_a_dash(tmp_path: Path) -> None:
    one, two = ran(tmp_path / "a/full/1", deepspeed="zero2"), ran(tmp_path / "b/full/1")
    write_json(two / "run.json", {"status": "failed", "values": {}, "measured": None, "engine": {"versions": None}})
    found = compared(Entry("a", run=one), Entry("b", run=two))
    assert by(found["settings"], "key")["deepspeed"]["b"] == "-"
    assert "b - a" not in by(found["figures"], "figure")["peak (GiB)"]
    assert found["predicted"].rows[0].get("b ratio") is None


def test_what_a_run_left_names_the_run(tmp_path: Path) -> None:
    run = ran(tmp_path / "a/full/1")
    (run / "output/merged").mkdir(parents=True)
    assert read_compared("a", run / "output/merged").run.path == run
    with pytest.raises(Refused, match="is not a run"):
        read_compared("a", tmp_path)


def test_the_loss_is_that_of_the_last_tenth(tmp_path: Path) -> None:
    assert tail_loss([]) is None
    assert tail_loss([(step, float(step)) for step in range(30)]) == 28.0
    assert figures(read_compared("a", ran(tmp_path / "a/full/1")))[TAIL] == pytest.approx(1.05)


def test_chance_is_measured_by_runs_that_are_alike(tmp_path: Path) -> None:
    losses = (1.0, 1.1, 0.9)
    for number, loss in enumerate(losses):
        ran(tmp_path / f"a/full/{number}", loss, seed=number)
    ran(tmp_path / "a/full/9", 5.0, lora_r=64)
    near, far = ran(tmp_path / "b/full/1", 1.2, lora_r=16), ran(tmp_path / "c/full/1", 3.0, lora_r=32)
    runs = [read_compared(path.parent.parent.name, path) for path in (tmp_path / "a/full/0", near)]
    assert [each.label for each in alike(runs[0])] == ["0", "1", "2"]
    found = noise(runs)
    # t(0.975, 2) = 4.3027, of a table; the standard deviation of the three is 0.1
    assert found.spread["loss"] == pytest.approx(4.3027 * 0.1 * 2**0.5, rel=1e-4)
    assert found.told().startswith("chance: 3 alike `a`, with other seeds")
    rows = by(compared(Entry("a", run=runs[0].run.path), Entry("b", run=near))["figures"], "figure")
    assert rows["loss"]["beyond chance"] is False
    rows = by(compared(Entry("a", run=runs[0].run.path), Entry("c", run=far))["figures"], "figure")
    assert rows["loss"]["beyond chance"] is True


def test_a_sweeps_children_with_other_seeds_are_alike(tmp_path: Path) -> None:
    parent = tmp_path / "sweep/full/1"
    parent.mkdir(parents=True)
    (parent / "points.json").write_text("{}")
    children = [ran(tmp_path / f"sweep/seed-{n}/full/1", 1.0 + n, seed=n) for n in range(2)]
    ran(tmp_path / "sweep/other/full/1", 1.0, lora_r=2)
    assert len(alike(read_compared("x", children[0]))) == 2
    (parent / "points.json").unlink()
    assert len(alike(read_compared("x", children[0]))) == 1


def test_one_of_each_says_nothing_of_chance() -> None:
    assert band([]) == 0.0
    assert band([[1.0, 1.0]]) == 0.0


def test_nested_values_have_paths() -> None:
    given = {"a": {"b": 1, "c": {}}, "d": [1, 2], "e": [{"f": None}]}
    assert dict(flattened(given)) == {"a.b": 1, "a.c": {}, "d": [1, 2], "e[0].f": None}


def test_figures_are_drawn(tmp_path: Path) -> None:
    one, two = ran(tmp_path / "a/full/1"), ran(tmp_path / "b/full/1", 1.5)
    found = compare([Entry("a", run=one), Entry("<b>&", run=two)], Options())
    found.write(tmp_path / "out")
    names = {file.name for file in draw(found, tmp_path / "out")}
    assert names == {"losses.png", "losses.svg", "costs.png", "costs.svg"}
    assert "| loss | 1 | 1.5 | 0.5 | 1.5 |" in (tmp_path / "out/figures/table.md").read_text()
