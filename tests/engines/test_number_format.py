"""DeepSpeed's config has the one number format that Axolotl will train in: it refuses two."""

from __future__ import annotations

import json

import pytest

from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from runner.render import render
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("sets", "wanted"),
    [
        (("bf16=true", "fp16=true"), (True, False)),
        (("bf16=auto", "fp16=true"), (False, True)),
        (("bf16=null", "fp16=true"), (False, True)),
        (("bf16=null",), (True, False)),
        (("bf16=false",), (False, False)),
    ],
)
def test_one_number_format(sets: tuple[str, ...], wanted: tuple[bool, bool]) -> None:
    project = Project(ROOT)
    doc = compose(project, project.recipe_file("phase2/zero2-13b"), sets=sets)
    made = json.loads(render(resolve(project, doc, "full", lambda name, profile: None))["deepspeed.json"])
    assert (made["bf16"]["enabled"], made["fp16"]["enabled"]) == wanted
