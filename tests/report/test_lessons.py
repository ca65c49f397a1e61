"""Lessons say what is so: their generated part is current, every recipe is named, commands and links work."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from runner.cli.main import cli
from runner.curriculum import Phase, curriculum
from runner.project import Project
from runner.report.lessons import BLOCK, lesson, weeks_of
from tests.conftest import ROOT

PROJECT = Project(ROOT)
PHASES = curriculum().phases
LESSONS = [*(lesson(PROJECT, phase) for phase in PHASES), ROOT / "recipes/serve/README.md"]
RECIPES = {PROJECT.recipe_name(file) for file in PROJECT.all_recipes()}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.folder)
def test_the_generated_part_is_current(phase: Phase) -> None:
    text = lesson(PROJECT, phase).read_text()
    assert f"<!-- {BLOCK} -->\n{weeks_of(PROJECT, curriculum(), phase)}\n<!-- /{BLOCK} -->" in text, "run `make readme`"


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.parent.name)
def test_every_recipe_of_the_folder_is_named(file: Path) -> None:
    text = file.read_text()
    own = [name.partition("/")[2] for name in RECIPES if name.startswith(f"{file.parent.name}/")]
    assert [name for name in own if f"{name}`" not in text] == []


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.parent.name)
def test_a_lesson_has_its_parts(file: Path) -> None:
    text = file.read_text()
    if file.parent.name != "serve":
        assert re.findall(r"^## (Week by week|Questions|How to know that it worked)$", text, re.M) == [
            "Week by week",
            "Questions",
            "How to know that it worked",
        ]


def commands(text: str) -> list[list[str]]:
    """What a reader may type: `runner ...` and `make ...` in backticks, and lines of code that begin so."""
    blocks = [line for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]
    indented = re.findall(r"^    ((?:make|runner) .*)$", text, re.M)
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    found = []
    for line in (*blocks, *indented, *(" ".join(each.split()) for each in inline)):
        words = re.split(r"\s{2,}|\s#", line.strip())[0]
        if words.startswith(("runner ", "make ")):
            found.append(re.findall(r'"[^"]*"|\S+', words))
    return found


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.parent.name)
def test_commands_are_real(file: Path) -> None:
    listed = commands(file.read_text())
    assert len(listed) > 3
    for words in listed:
        assert (_runner if words[0] == "runner" else _make)(words[1:]) == "", " ".join(words)


def _runner(words: list[str]) -> str:
    """Empty where the command and its options are there, and each recipe that is named."""
    command = cli.get_command(click.Context(cli), words[0])
    if command is None:
        return f"no command {words[0]}"
    options = {name for parameter in command.params for name in parameter.opts}
    if wrong := [w for w in words[1:] if w.startswith("-") and w.partition("=")[0] not in options]:
        return f"no option {wrong}"
    named = [w for w in words[1:] if re.fullmatch(r"(phase\d|serve)/[a-z0-9-]+", w)]
    return "".join(f"no recipe {name}" for name in named if name not in RECIPES)


def _make(words: list[str]) -> str:
    goals = [word for word in words if "=" not in word and not word.startswith("-")]
    if wrong := [goal for goal in goals if goal not in TARGETS]:
        return f"no target {wrong}"
    given = dict(word.split("=", 1) for word in words if "=" in word)
    served = {name.removeprefix("serve/") for name in RECIPES}
    wrong = [given[key] for key in ("R", "MODEL") if key in given and given[key] not in RECIPES | served | {"..."}]
    return f"no recipe {wrong}" if wrong else ""


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.parent.name)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        if target.startswith("http"):
            assert re.fullmatch(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}|doi\.org/\S+)", target), target
        else:
            assert (file.parent / target).resolve().is_file(), target
