"""Run directories: identity, whole writes, and what make sees."""

from __future__ import annotations

import json
from pathlib import Path

from runner import record
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from runner.render import render
from tests.conftest import BODY, HEADER, Bench


def recipe_of(bench: Bench, text: str = HEADER + BODY) -> Recipe:
    file = bench.write("r", text)
    return resolve(bench.project, compose(bench.project, file), "full", lambda recipe, profile: None)


def test_the_fingerprint_is_of_all_that_matters(bench: Bench) -> None:
    data = bench.project.root / "mine.jsonl"
    data.write_text("{}\n")
    text = (HEADER + BODY).replace("path: yahma/alpaca-cleaned", "path: mine.jsonl\n    ds_type: json")
    recipe = recipe_of(bench, text)
    files = render(recipe)
    first = record.fingerprint(recipe, files)
    assert record.fingerprint(recipe, dict(reversed(files.items()))) == first
    assert record.fingerprint(recipe, {**files, "launch.sh": files["launch.sh"] + "#"}) != first
    data.write_text('{"a": 1}\n')
    assert record.fingerprint(recipe, files) != first


def test_a_comment_in_the_recipe_is_no_other_run(bench: Bench) -> None:
    one = recipe_of(bench)
    two = recipe_of(bench, "# why\n" + HEADER + BODY)
    assert record.fingerprint(one, render(one)) == record.fingerprint(two, render(two))


def test_records_are_whole_or_not_there(tmp_path: Path) -> None:
    record.write_json(tmp_path / "run.json", {"status": "running"})
    record.write_json(tmp_path / "run.json", {"status": "finished"})
    assert json.loads((tmp_path / "run.json").read_text()) == {"status": "finished"}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
    (tmp_path / "run.json").write_text('{"status": "fin')
    assert record.read_run(tmp_path) is None


def test_latest_names_the_newest_finished_run(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert record.latest(project, "r", "smoke") is None
    one = record.new_run_dir(project, "r", "smoke")
    two = record.new_run_dir(project, "r", "smoke")
    assert one != two
    record.write_json(one / "run.json", {"status": "finished"})
    record.point_latest(one)
    assert record.latest(project, "r", "smoke") == one
    record.write_json(two / "run.json", {"status": "failed"})
    record.point_latest(two)
    assert record.latest(project, "r", "smoke") is None
    assert {r.id for r in record.runs(project, "r", "smoke")} == {one.name, two.name}


def test_a_torn_line_of_metrics_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "loss": 2.0}\nnot json\n{"step": 2, "lo')
    rows, at = record.read_metrics(tmp_path)
    assert rows == [{"step": 1, "loss": 2.0}]
    with file.open("a") as out:
        out.write('ss": 1.0}\n')
    rows, _ = record.read_metrics(tmp_path, at)
    assert rows == [{"step": 2, "loss": 1.0}]
    final = record.final_metrics(tmp_path)
    assert (final["first_loss"], final["loss"], final["step"]) == (2.0, 1.0, 2)


def test_outputs_have_sizes_and_hashes_without_checkpoints(bench: Bench, tmp_path: Path) -> None:
    recipe = recipe_of(bench)
    run = tmp_path / "run"
    (run / "output/checkpoint-1").mkdir(parents=True)
    (run / "output/checkpoint-1/adapter.safetensors").write_text("old")
    assert record.describe_outputs(recipe, run) == ([], ["output"])
    (run / "output/adapter_model.safetensors").write_text("12345")
    (found,), missing = record.describe_outputs(recipe, run)
    assert missing == []
    assert (found["name"], found["type"], found["bytes"]) == ("adapter", "adapter", 5)
    (run / "output/adapter_model.safetensors").write_text("12346")
    assert record.describe_outputs(recipe, run)[0][0]["sha256"] != found["sha256"]
