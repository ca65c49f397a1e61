"""What is decided before a run and said after it. Runs themselves are tests/engine's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from runner.launch.ended import last_error
from runner.launch.outcome import headline
from runner.launch.supervise import PROBES, execute, prepare, prepare_probe, refuse_machine
from runner.machine import Machine
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from runner.record import RECORD, latest, new_run_dir, profile_dir, read_run, write_json
from tests.conftest import BODY, HEADER, Bench


def recipe_of(bench: Bench, profile: str = "full", text: str = HEADER + BODY) -> Recipe:
    doc = compose(bench.project, bench.write("r", text), profile=profile)
    return resolve(bench.project, doc, profile, lambda recipe, profile: None)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({}, "no metrics"),
        ({"first_loss": 7.1234, "loss": 0.5}, "loss 7.123 -> 0.500"),
        ({"first_loss": 7, "loss": float("nan")}, "loss 7.000 -> nan"),
        ({"first_loss": 7, "loss": "nan"}, "loss 7.000 -> nan"),
        (
            {"first_loss": 0.7, "loss": 0.6, "first_rewards/margins": 0.0, "rewards/margins": 1.25},
            "loss 0.700 -> 0.600, reward margin 0.000 -> 1.250",
        ),
        ({"first_reward": -1, "reward": 0.25}, "reward -1.000 -> 0.250"),
    ],
)
def test_headline(metrics: dict[str, Any], said: str) -> None:
    assert headline(metrics) == said


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "it wrote nothing"),
        ("\n \n", "it wrote nothing"),
        ("ValueError: no such column\nbye\n", "ValueError: no such column"),
        ("one\nlaunch.sh: line 9: 77 Killed  python -m axolotl.cli.train\n\n", "launch.sh: line 9: 77 Killed"),
        ("x" * 5000, "x" * 400),
        ("ValueError: long ago\n" + "step\n" * 40_000 + "the end", "the end"),
        ("\udcff\udcfe broken bytes", "\ufffd\ufffd broken bytes"),
    ],
)
def test_last_error(bench: Bench, tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "log.txt").write_bytes(log.encode("utf-8", "surrogateescape"))
    assert last_error(recipe_of(bench), tmp_path).startswith(said)
    assert len(last_error(recipe_of(bench), tmp_path)) <= 400


def recorded(bench: Bench, recipe: Recipe, status: str, fingerprint: str) -> Path:
    run = new_run_dir(bench.project, recipe.name, recipe.profile)
    write_json(run / RECORD, {"status": status, "fingerprint": fingerprint})
    return run


def test_a_finished_run_of_the_same_is_enough(bench: Bench) -> None:
    recipe = recipe_of(bench)
    digest = prepare(bench.project, recipe).fingerprint
    run = recorded(bench, recipe, "finished", digest)
    recorded(bench, recipe, "failed", "of another form")
    prepared = prepare(bench.project, recipe)
    assert prepared.finished is not None
    assert prepared.finished.path == run
    assert latest(bench.project, "r", "full") == run
    assert (profile_dir(bench.project, "r", "full") / "done").exists()
    forced = prepare(bench.project, recipe, force=True)
    assert (forced.finished, forced.resume) == (None, None)


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_the_newest_run_goes_on_where_it_is_the_same(bench: Bench, status: str) -> None:
    recipe = recipe_of(bench)
    digest = prepare(bench.project, recipe).fingerprint
    run = recorded(bench, recipe, status, digest)
    prepared = prepare(bench.project, recipe)
    assert prepared.finished is None
    assert prepared.resume is not None
    assert prepared.resume.path == run
    assert prepare(bench.project, recipe, force=True).resume is None
    recorded(bench, recipe, "finished", "of another form")
    prepared = prepare(bench.project, recipe)
    assert (prepared.finished, prepared.resume) == (None, None)
    recorded(bench, recipe, status, "of another form")
    assert prepare(bench.project, recipe).resume is None


def test_nothing_is_written_before_a_run(bench: Bench) -> None:
    prepare(bench.project, recipe_of(bench))
    assert not bench.project.artifacts.exists()


def refused(bench: Bench) -> str:
    recipe = recipe_of(bench)
    prepared = prepare(bench.project, recipe)
    with pytest.raises(Refused) as caught:
        execute(bench.project, recipe, prepared, lambda progress: None)
    (told,) = caught.value.diagnostics
    assert told.help
    return told.code


def test_two_runs_of_one_recipe_are_refused(bench: Bench) -> None:
    folder = profile_dir(bench.project, "r", "full")
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        assert refused(bench) == "R411"
    assert [p for p in folder.iterdir() if p.is_dir()] == []


def test_artifacts_that_cannot_be_written(bench: Bench) -> None:
    bench.project.artifacts.write_text("a file where a folder should be")
    assert refused(bench) == "R412"


def test_a_machine_that_is_too_small(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Machine("Linux", "3.11", 2, 16.0, 8.0, 60, "/")
    monkeypatch.setattr("runner.launch.supervise.probe", lambda root: small)
    with pytest.raises(Refused) as caught:
        refuse_machine(bench.project, recipe_of(bench))
    told = caught.value.diagnostics
    assert "R310" in {d.code for d in told}
    assert any("make recipe R=r PROFILE=smoke" in d.help for d in told)
    refuse_machine(bench.project, recipe_of(bench, "smoke"))


def test_a_record_that_is_torn_is_no_run(bench: Bench) -> None:
    recipe = recipe_of(bench)
    run = recorded(bench, recipe, "finished", prepare(bench.project, recipe).fingerprint)
    (run / RECORD).write_text((run / RECORD).read_text()[:-5])
    assert read_run(run) is None
    assert prepare(bench.project, recipe).finished is None
    (run / RECORD).write_text(json.dumps(["a list"]))
    assert prepare(bench.project, recipe).finished is None


# leaves what a training run leaves, in a moment
ENGINE = """\
echo "=== train"
mkdir -p output measured
echo '{"step": 2, "max_steps": 2, "loss": 1.5, "train_runtime": 7.2}' > metrics.jsonl
echo '{"rank": 0, "peak_rss_gib": 1.25, "step_s": 0.5}' > measured/rank-0.json
echo '{}' > output/adapter_config.json
"""


@pytest.fixture(autouse=True)
def own_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GPUs are locked for a whole machine, where another test may have them."""
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.launch.supervise.render", lambda recipe: {"launch.sh": ENGINE})


@pytest.mark.usefixtures("engine")
def test_what_was_predicted_stands_beside_what_was_measured(bench: Bench) -> None:
    recipe = recipe_of(bench)
    said = {"host.ram_gib": 1.0, "time.steps": 2}
    outcome = execute(bench.project, recipe, prepare(bench.project, recipe), lambda progress: None, said)
    assert outcome.status == "finished", outcome.error
    assert outcome.comparison == "predicted/measured: host RAM 1/1.25 GiB, steps 2/2"
    run = read_run(outcome.run)
    assert run is not None
    assert run.record["predicted"] == said
    assert run.record["measured"]["host.ram_gib"] == 1.25
    assert run.record["measured"]["time.hours"] == 0.002
    assert run.record["planned"]["config"]["hidden_size"] == 5120
    assert run.record["planned"]["box"]["gpus"] == 2


@pytest.mark.usefixtures("engine")
def test_a_probe_is_no_run(bench: Bench) -> None:
    """Nothing may ever start from it, and a run that goes on is not held up by it."""
    recipe = recipe_of(bench)
    with FileLock(profile_dir(bench.project, "r", "full") / ".lock"):
        outcome = execute(bench.project, recipe, prepare_probe(recipe), lambda progress: None)
    assert outcome.status == "finished", outcome.error
    assert outcome.run.parent == bench.project.artifacts / PROBES / "r" / "full"
    assert latest(bench.project, "r", "full") is None
    assert {p.name for p in profile_dir(bench.project, "r", "full").iterdir()} <= {".lock"}
    assert {p.name for p in outcome.run.parent.iterdir()} == {".lock", outcome.run.name}
    again = execute(bench.project, recipe, prepare_probe(recipe), lambda progress: None)
    assert again.run != outcome.run, "always a fresh one"
    assert prepare(bench.project, recipe).finished is None
