"""`runner probe` and `runner run --anyway`, with an engine that only says what it measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from runner.cli.probe import probe_settings
from runner.launch.outcome import Outcome
from runner.launch.supervise import Prepared, prepare_probe
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.kinds import kind_schema
from runner.recipe.resolve import Recipe, resolve
from runner.record import RECORD, write_json
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, ROOT, Bench, recipes_of

MEASURED = {"memory.peak_gib": 33.25, "speed.step_s": 0.5, "host.ram_gib": 9.0, "time.steps": 20, "disk.gib": 1.0}
# 13B parameters of 16 bytes and more on one GPU
TOO_LARGE = (HEADER + BODY).replace("adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n", "")


@pytest.fixture
def probed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Prepared]]:
    """What was started; it finishes at once, unless a file `fail` says otherwise."""
    started: list[tuple[Recipe, Prepared]] = []

    def run(
        project: Project,
        recipe: Recipe,
        prepared: Prepared,
        plan: Plan | None,
        *,
        wait: bool = False,
        follow: bool = True,
    ) -> Outcome:
        started.append((recipe, prepared))
        folder = project.artifacts / (prepared.place or recipe.name) / recipe.profile / "1"
        for name in ("output", "prepared", "measured"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        failed = (project.root / "fail").exists()
        status, error = ("failed", "torch.OutOfMemoryError: CUDA out of memory") if failed else ("finished", "")
        record = {"run": "1", "status": status, "measured": MEASURED, "error": error, "started": "2026-11-24T00:00:00"}
        write_json(folder / RECORD, record)
        return Outcome(folder, status, int(failed), "train", 12.0, [], "loss", error, MEASURED, "said/found")

    for module in ("run", "probe"):
        monkeypatch.setattr(f"runner.cli.{module}.run_prepared", run)
        monkeypatch.setattr(f"runner.cli.{module}.refuse_machine", lambda project, recipe: None)
    return started


def test_predicted_beside_measured(bench: Bench, invoke: Invoke, probed: list[Any]) -> None:
    bench.write("r")
    said = invoke("probe", "r", "--steps", "9")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[1].split() == ["predicted", "measured"]
    (peak,) = [line.split() for line in lines if line.startswith("peak (GiB)")]
    assert float(peak[2]) > 20
    assert peak[3] == "33.2"
    assert not any(line.startswith(("steps", "time", "disk")) for line in lines), "these are of a whole run"
    ((recipe, prepared),) = probed
    assert recipe.values["max_steps"] == 9
    assert prepared.place == ".probes/r"
    folder = bench.project.artifacts / ".probes/r/full/1"
    assert {p.name for p in folder.iterdir()} == {"measured", RECORD}, "its weights are of no use"


def test_json_and_a_row(bench: Bench, invoke: Invoke, probed: list[Any]) -> None:
    bench.write("r")
    said = json.loads(invoke("probe", "r", "--json", "--write").out)
    assert said["status"] == "finished"
    assert said["measured"]["memory.peak_gib"] == 33.25
    assert set(said["predicted"]) >= {"memory.peak_gib", "host.ram_gib", "speed.step_s"}
    with (bench.project.root / "data/measured/2xh100.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["recipe"], row["peak_gib"], row["outcome"]) == ("r", "33.25", "ran")
    assert json.loads(row["settings"])["max_steps"] == 20


def test_one_that_ran_out_of_memory_is_a_measurement(bench: Bench, invoke: Invoke, probed: list[Any]) -> None:
    bench.write("r")
    (bench.project.root / "fail").touch()
    said = invoke("probe", "r", "--write")
    assert said.code == 4
    assert "CUDA out of memory" in said.err
    assert "OOM" in (bench.project.root / "data/measured/2xh100.csv").read_text()


@pytest.mark.parametrize("command", ["run", "probe"])
def test_what_cannot_fit_is_refused_unless_told_otherwise(
    bench: Bench, invoke: Invoke, probed: list[Any], command: str
) -> None:
    bench.write("r", TOO_LARGE)
    said = invoke(command, "r")
    assert said.code == 1
    assert "R201" in said.err
    assert probed == []
    assert invoke(command, "r", "--anyway").code == 0
    assert len(probed) == 1
    assert invoke(command, "r", "--profile", "smoke").code == 0, "smoke fits anywhere"


def test_a_run_ends_with_the_comparison(bench: Bench, invoke: Invoke, probed: list[Any]) -> None:
    bench.write("r")
    assert invoke("run", "r").out.splitlines()[-1].strip() == "said/found"


def test_what_cannot_be_planned_runs(bench: Bench, invoke: Invoke, probed: list[Any]) -> None:
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "someone/unheard-of"))
    assert invoke("run", "r").code == 0
    said = invoke("probe", "r")
    assert said.code == 0
    (peak,) = [line.split() for line in said.out.splitlines() if line.startswith("peak (GiB)")]
    assert peak[2:] == ["-", "33.2"]


@pytest.mark.parametrize("profile", ["full", "smoke"])
@pytest.mark.parametrize(
    "file", [Project(ROOT).recipe_file(name) for name in recipes_of("axolotl")], ids=lambda f: f.stem
)
def test_every_recipe_can_be_probed(file: Path, profile: str) -> None:
    """No rule refuses it, and nothing but steps is left of it."""
    from runner.cli.common import check_recipe
    from runner.recipe.graph import Library

    project = Project(ROOT)
    kind = str(compose(project, file).keys["kind"].value)
    if "max_steps" not in kind_schema(kind)["properties"]:
        pytest.skip(f"kind {kind} trains nothing")
    sets = tuple(probe_settings(kind, 20))
    doc, found = check_recipe(Library(project, profile), file, sets)
    assert doc is not None
    assert [d.message for d in found if d.is_error] == []
    recipe = resolve(project, compose(project, file, profile=profile, sets=sets), profile, lambda name, profile: None)
    assert recipe.values["max_steps"] == 20
    assert not recipe.merge
    timed = ("save_steps", "saves_per_epoch", "eval_steps", "evals_per_epoch", "val_set_size", "test_datasets")
    assert not set(timed) & set(recipe.values)
    assert prepare_probe(recipe).place == f".probes/{recipe.name}"
