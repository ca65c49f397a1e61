"""CONTRIBUTING's worked example works as it stands: its files make a kind that validates, renders and refuses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.project import Project

ROOT = Path(__file__).resolve().parents[1]
FILE = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.S | re.M)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project with the example's files in it."""
    for folder in ("runner", "schemas", "templates", "data", "recipes"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    files = FILE.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert len(files) == 4
    for name, text in files:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        assert not target.exists(), f"the example would overwrite {name}"
        target.write_text(text)
    return tmp_path


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(folder), "RUNNER_PROJECT": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )


def test_the_new_kind_validates_and_renders(copy: Path) -> None:
    done = call(copy, "validate", "phase4/score-dpo-13b")
    assert done.returncode == 0, done.stderr
    launch = call(copy, "render", "phase4/score-dpo-13b", "--file", "launch.sh").stdout
    assert "-m lm_eval --model hf" in launch
    assert "artifacts/phase4/dpo-13b/full/latest/output/merged" in launch
    assert "--tasks hellaswag,arc_easy" in launch
    assert "--limit" not in launch


def test_the_new_kind_refuses(copy: Path) -> None:
    file = copy / "recipes/phase4/score-dpo-13b.yaml"
    file.write_text(file.read_text().replace("tasks:", "taks:").replace("dpo.model", "dpo.adapter"))
    done = call(copy, "validate", "phase4/score-dpo-13b")
    assert done.returncode == 1
    assert "did you mean `tasks`?" in done.stderr
    assert "`base_model` takes a model" in done.stderr


def test_the_other_kinds_are_untouched(copy: Path) -> None:
    done = call(copy, "validate")
    assert done.returncode == 0, done.stderr
    assert f"{len(Project(ROOT).all_recipes()) + 1} recipes: ok" in done.stdout
