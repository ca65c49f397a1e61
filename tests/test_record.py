"""Run directories: identity, whole writes, and what make sees."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runner import __version__, record
from runner.engines.environment import environment
from runner.project import Project
from runner.provenance.outputs import describe_outputs
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from runner.render import jinja, render
from tests.conftest import BODY, HEADER, ROOT, Bench


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


def test_another_upstream_run_or_environment_makes_another_run(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.sft.model}") + "needs: {sft: sft}\n"
    doc = compose(bench.project, bench.write("r", text))

    def seen(run: str) -> str:
        recipe = resolve(bench.project, doc, "full", lambda recipe, profile: tmp_path / run)
        return record.fingerprint(recipe, render(recipe))

    first = seen("one")
    assert seen("one") == first
    assert seen("two") != first
    other = replace(environment("axolotl"), path=Path("/cache/envs/axolotl-ffffffffffff"))
    monkeypatch.setattr("runner.render.environment", lambda engine: other)
    assert seen("one") != first


def test_another_template_makes_another_run(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(bench)
    first = record.fingerprint(recipe, render(recipe))
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    with (tmp_path / "templates/axolotl/launch.sh.j2").open("a") as out:
        out.write("# one more line\n")
    monkeypatch.setattr("runner.render.shipped", lambda folder: tmp_path / folder)
    jinja.cache_clear()
    try:
        assert record.fingerprint(recipe, render(recipe)) != first
    finally:
        jinja.cache_clear()


def test_a_loss_that_is_no_number_is_still_json(tmp_path: Path) -> None:
    record.write_json(tmp_path / "run.json", {"metrics": {"loss": float("nan"), "grad_norm": [float("-inf"), 1.5]}})
    read = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    assert read == {"metrics": {"loss": "nan", "grad_norm": ["-inf", 1.5]}}


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    record.write_json(tmp_path / "run.json", {"status": "running"})
    with pytest.raises(TypeError):
        record.write_json(tmp_path / "run.json", {"status": object()})
    run = record.read_run(tmp_path)
    assert run is not None
    assert run.status == "running"


def test_latest_is_never_a_dangling_or_borrowed_link(tmp_path: Path) -> None:
    project = Project(tmp_path)
    run = record.new_run_dir(project, "r", "full")
    record.write_json(run / "run.json", {"status": "finished"})
    record.point_latest(run)
    record.point_latest(run)
    folder = record.profile_dir(project, "r", "full")
    assert sorted(p.name for p in folder.iterdir()) == sorted([run.name, "latest"])
    assert (folder / "latest").readlink() == Path(run.name), "relative, so that artifacts/ can be moved"
    shutil.rmtree(run)
    assert record.latest(project, "r", "full") is None
    assert record.runs(project, "r", "full") == []


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
    assert describe_outputs(recipe, run) == ([], ["output"])
    (run / "output/adapter_model.safetensors").write_text("12345")
    (found,), missing = describe_outputs(recipe, run)
    assert missing == []
    assert (found["name"], found["type"], found["bytes"]) == ("adapter", "adapter", 5)
    (run / "output/adapter_model.safetensors").write_text("12346")
    assert describe_outputs(recipe, run)[0][0]["sha256"] != found["sha256"]


def test_a_local_folder_of_shards_counts(bench: Bench) -> None:
    shards = bench.project.root / "shards"
    shards.mkdir()
    (shards / "manifest.json").write_text("{}")
    text = (
        "recipe: 1\nkind: pretrain\ntitle: t\nprepared: shards\nlearning_rate: 1e-3\nmicro_batch_size: 1\n"
        "sequence_len: 64\nmax_steps: 1\n"
        "architecture: {model_type: gpt2, n_layer: 2, n_head: 2, n_embd: 64, n_positions: 64, vocab_size: 300}\n"
    )
    recipe = recipe_of(bench, text)
    files = render(recipe)
    assert record.local_inputs(recipe) == [shards]
    before = record.fingerprint(recipe, files)
    (shards / "manifest.json").write_text('{"tokens": 1}')
    assert record.fingerprint(recipe, files) != before


def test_local_folders_and_data_files_count_and_the_runners_version_does_not(bench: Bench) -> None:
    model, data = bench.project.root / "mine", bench.project.root / "rows"
    for folder in (model, data):
        folder.mkdir()
    (model / "config.json").write_text("{}")
    (data / "a.jsonl").write_text("{}\n")
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "mine")
    text = text.replace("path: yahma/alpaca-cleaned", "path: json\n    data_files: [rows/a.jsonl]")
    recipe = recipe_of(bench, text)
    files = render(recipe)
    assert record.local_inputs(recipe) == [model, data / "a.jsonl"]
    seen = {record.fingerprint(recipe, files)}
    (data / "a.jsonl").write_text("[]\n")
    seen.add(record.fingerprint(recipe, files))
    (model / "config.json").write_text('{"model_type": "llama"}')
    seen.add(record.fingerprint(recipe, files))
    assert len(seen) == 3
    newer = {name: t.replace(f"runner {__version__}", "runner 99.0.0") for name, t in files.items()}
    assert newer != files
    record.__version__, before = "99.0.0", record.__version__  # type: ignore[attr-defined]
    try:
        assert record.fingerprint(recipe, newer) in seen
    finally:
        record.__version__ = before  # type: ignore[attr-defined]


def test_documents_count_one_by_one(bench: Bench) -> None:
    documents = bench.project.root / "docs"
    documents.mkdir()
    (documents / "a.md").write_text("# One")
    recipe = recipe_of(bench, "recipe: 1\nkind: rag\ntitle: t\nbox: cpu\nsources: [{path: docs}]\n")
    files = render(recipe)
    assert record.local_inputs(recipe) == [documents]
    seen = {record.fingerprint(recipe, files)}
    (documents / "a.md").write_text("# Two and more")
    seen.add(record.fingerprint(recipe, files))
    (documents / "b.md").write_text("# Three")
    seen.add(record.fingerprint(recipe, files))
    (documents / "b.md").unlink()
    (documents / "a.md").unlink()
    seen.add(record.fingerprint(recipe, files))
    assert len(seen) == 4
