"""The front door: its help, and a target that is misspelt."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "Makefile").read_text()


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """A folder with the Makefile alone: neither help nor a typo may start anything."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "recipes").mkdir()
    return tmp_path


def test_help_lists_every_target_below_a_heading(door: Path) -> None:
    done = make(door, "help")
    assert (done.returncode, done.stderr) == (0, "")
    phony = next(re.finditer(r"^\.PHONY: (help .*)$", TEXT, re.M))[1].split()
    listed = re.findall(r"^  ([a-z-]+) +\S", done.stdout.partition("examples:")[0], re.M)
    assert sorted(set(phony) - set(listed)) == ["lint"]
    assert [*re.findall(r"^([A-Z][\w ]+)$", done.stdout, re.M)] == re.findall(r"^##@ (.*)$", TEXT, re.M)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert sorted(p.name for p in door.iterdir()) == ["Makefile", "recipes"]


@pytest.mark.parametrize(("typed", "meant"), [("recpie", "recipe"), ("vaildate", "validate"), ("halp", "help")])
def test_a_misspelt_target_is_suggested(door: Path, typed: str, meant: str) -> None:
    done = make(door, typed)
    assert done.returncode == 2
    assert f"error: no target `{typed}`, did you mean `{meant}`?" in done.stderr


@pytest.mark.parametrize("typed", ["x;touch owned", "$(shell touch owned)", "`touch owned`", "'; touch owned; '"])
def test_a_hostile_target_starts_nothing(door: Path, typed: str) -> None:
    done = make(door, typed)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sorted(p.name for p in door.iterdir()) == ["Makefile", "recipes"]
