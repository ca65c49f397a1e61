"""Trackers: those that are said to be there are in the lock, and a key is looked for before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engines.locks import FOLDER, read
from runner.launch.fitness import check_tracker
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.rules.tracking import SWITCHES, THERE
from tests.conftest import BODY, HEADER, Bench


def test_the_environment_has_what_is_said_to_be_there() -> None:
    pins = read(FOLDER / "axolotl.txt").pins
    assert {tracker for tracker in SWITCHES if tracker in pins} == set(THERE)


@pytest.mark.parametrize(
    ("keys", "environment", "refused"),
    [
        ("wandb_project: x\n", {}, True),
        ("use_wandb: true\n", {"WANDB_API_KEY": "k"}, False),
        ("wandb_project: x\nwandb_mode: offline\n", {}, False),
        ("use_wandb: true\n", {"WANDB_MODE": "disabled"}, False),
        ("use_wandb: false\n", {}, False),
        ("use_tensorboard: true\n", {}, False),
        ("report_to: [tensorboard, wandb]\n", {}, True),
        ("report_to: tensorboard\n", {}, False),
    ],
)
def test_a_key_is_looked_for(bench: Bench, keys: str, environment: dict[str, str], refused: bool) -> None:
    doc = compose(Project(bench.project.root), bench.write("r", HEADER + BODY + keys))
    found = check_tracker(doc, {"HOME": str(bench.project.root), **environment})
    assert [d.code for d in found] == (["R477"] if refused else [])


def test_what_wandb_login_kept_is_found(bench: Bench, tmp_path: Path) -> None:
    doc = compose(Project(bench.project.root), bench.write("r", HEADER + BODY + "use_wandb: true\n"))
    file = tmp_path / ".netrc"
    file.write_text("machine api.wandb.ai\n  login user\n  password k\n")
    file.chmod(0o600)
    assert check_tracker(doc, {"HOME": str(tmp_path)}) == []
    file.write_text("nonsense")
    assert [d.code for d in check_tracker(doc, {"HOME": str(tmp_path)})] == ["R477"]
