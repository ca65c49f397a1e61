"""The knobs: what is set together with one, and that what the search gives fits, passes the rules and learns alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.facts.boxes import load_box
from runner.plan.fit import best_single_knob, search
from runner.plan.make import make_plan
from runner.project import Project
from runner.recipe.check import check
from runner.recipe.compose import compose
from runner.recipe.document import make_node, merge
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import ROOT


def opened(name: str) -> Recipe:
    project = Project(ROOT)
    return resolve(project, compose(project, project.recipe_file(name)), "full", lambda name, profile: None)


@pytest.mark.parametrize(
    ("name", "box", "settings"),
    [
        ("phase4/lora-13b", "1x4090", {"adapter": "qlora", "load_in_4bit": True}),
        (
            "phase4/full-13b",
            "1xa100-40",
            {"adapter": "lora", "lora_r": 16, "lora_alpha": 32, "lora_target_linear": True},
        ),
    ],
)
def test_a_knob_brings_what_must_change_with_it(name: str, box: str, settings: dict[str, object]) -> None:
    recipe = opened(name)
    knob = best_single_knob(recipe, load_box(box))
    assert knob is not None
    assert list(knob.settings.items()) == list(settings.items())
    again = make_plan(replace(recipe, values={**recipe.values, **settings}), load_box(box))
    assert again == knob.plan
    assert again.fits != "no"


def test_a_smaller_micro_batch_keeps_the_global_batch() -> None:
    recipe = opened("phase4/lora-13b")
    large = replace(recipe, values={**recipe.values, "micro_batch_size": 64, "gradient_accumulation_steps": 2})
    assert make_plan(large).fits == "no"
    knob = best_single_knob(large)
    assert knob is not None
    micro, accumulation = knob.settings.items()
    assert (micro[0], accumulation[0]) == ("micro_batch_size", "gradient_accumulation_steps")
    assert micro[1] < 64
    assert micro[1] * accumulation[1] == 128


def test_what_learns_alike_is_taken_before_what_does_not() -> None:
    recipe = opened("phase4/lora-13b")
    alike = search(recipe).best
    assert alike is not None
    assert alike.changes_learning == ()
    small = search(recipe, load_box("1x4090")).best
    assert small is not None
    assert small.changes_learning
    assert small.plan.fits != "no"


def test_the_frontier_fits_passes_the_rules_and_is_faster_the_more_it_takes() -> None:
    recipe = opened("phase4/lora-13b")
    known = {d.code for d in check(recipe.doc) if d.is_error}
    frontier = search(recipe).frontier
    assert len(frontier) > 1
    for choice in frontier:
        assert choice.plan.fits != "no"
        changed = replace(recipe.doc, root=merge(recipe.doc.root, make_node(choice.settings, recipe.doc.root.span)))
        assert {d.code for d in check(changed) if d.is_error} <= known
    peaks = [choice.plan.memory.peak.value for choice in frontier]
    speeds = [choice.tokens_per_s for choice in frontier]
    assert peaks == sorted(peaks)
    assert speeds == sorted(speeds)
