"""SkyPilot's own parser, in its environment, about the tasks that we render. Nothing is launched."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.engines.environment import Environment, ensure, environment
from runner.engines.nodes import on_box
from runner.facts.boxes import Box, load_box, make_box
from runner.launch.validators import ask, cases_of
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from runner.render import render
from tests.conftest import ROOT

PROJECT = Project(ROOT)
OWN = {"gpu": "A100-80GB", "gpus": 4, "disk_gib": 700}
BOXES = {
    "sky-8xh100": load_box("sky-8xh100"),
    "sky-2x8xh100": load_box("sky-2x8xh100"),
    "bucket": make_box("bucket", OWN | {"scheduler": {
        "type": "sky", "infra": "aws", "spot": True, "bucket": "s3://my-bucket",
        "env": {"NCCL_DEBUG": "INFO"}}}),
    "processors": make_box("processors", {"gpus": 0, "cores": 8, "scheduler": {"type": "sky", "infra": "k8s"}}),
}  # fmt: skip
RECIPES = ("phase1/gpt-nano", "phase2/parallel-zero3", "phase3/quantize-fp8-13b", "phase4/full-13b", "phase4/rlhf-13b")


@pytest.fixture(scope="module")
def skypilot() -> Environment:
    env = environment("skypilot")
    ensure(env, lambda progress: None)
    return env


def task(name: str, profile: str, box: Box) -> str:
    doc = compose(PROJECT, PROJECT.recipe_file(name), profile=profile)
    recipe = on_box(resolve(PROJECT, doc, profile, lambda recipe, profile: Path("/nowhere")), box)
    files = render(recipe)
    (case,) = [case for case in cases_of(recipe, files) if case.validator == "by_sky"]
    assert case.body["files"] == {"task.sky.yaml": files["task.sky.yaml"]}
    return files["task.sky.yaml"]


def test_skypilot_takes_what_is_rendered(skypilot: Environment) -> None:
    """Every kind of box in both profiles; and it does not take just anything."""
    cases = {
        (name, profile, at): task(name, profile, box)
        for name in RECIPES
        for profile in ("full", "smoke")
        for at, box in BOXES.items()
    }
    good = cases["phase4/full-13b", "full", "sky-8xh100"]
    damaged = {
        "Instead of 'disk_sise', did you mean 'disk_size'?": good.replace("disk_size", "disk_sise"),
        "should be <name> or <name>:<cnt>": good.replace("H100:8", "H100:eight"),
        "num_nodes": good.replace("num_nodes: 1", "num_nodes: one"),
    }
    bodies = [{"files": {"task.sky.yaml": text}} for text in (*cases.values(), *damaged.values())]
    answers = ask("by_sky", skypilot, bodies)
    told = dict(zip(cases, answers, strict=False))
    assert {case: answer.problems for case, answer in told.items() if answer.problems} == {}
    for words, answer in zip(damaged, answers[len(cases) :], strict=True):
        assert words in answer.problems[0].said
