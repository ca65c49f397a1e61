"""R201: what is short, by how much, and the one key that would mend it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.plan import fit
from runner.plan.types import Plan
from runner.plan.verdict import called, need, refuse_unfit, short_of, unfit
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import ROOT
from tests.plan.sample import FITTING, ON_CPU, TOO_LARGE, near

NO_RAM = replace(FITTING, fits="no", host=replace(FITTING.host, gib=near(500.0)))
NO_DISK = replace(FITTING, fits="tight", disk=replace(FITTING.disk, gib=near(2400.0)))


@pytest.fixture
def recipe() -> Recipe:
    project = Project(ROOT)
    return resolve(
        project, compose(project, project.recipe_file("phase4/lora-13b")), "full", lambda name, profile: None
    )


def knob(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any] | None, better: Plan = FITTING) -> None:
    found = None if settings is None else fit.Choice(settings, better)
    monkeypatch.setattr(fit, "best_single_knob", lambda recipe, box=None: found)


@pytest.mark.parametrize(
    ("plan", "what", "told"),
    [
        (FITTING, "gpu", "60.0 of 79.1 GiB at peak (backward-last)"),
        (TOO_LARGE, "gpu", "101.0 of 79.1 GiB at peak (backward-last)"),
        (NO_RAM, "host", "500.0 of 442 GiB of host RAM"),
        (NO_DISK, "disk", "2,400 of 2,000 GiB of disk"),
        (ON_CPU, "host", "1.4 of 4 GiB of host RAM"),
        (replace(TOO_LARGE, host=NO_RAM.host), "gpu", "101.0 of 79.1 GiB at peak (backward-last)"),
    ],
)
def test_what_is_short(plan: Plan, what: str, told: str) -> None:
    assert (short_of(plan), need(plan)) == (what, told)


def test_a_plan_that_fits_is_let_through(recipe: Recipe) -> None:
    refuse_unfit(FITTING, recipe)
    refuse_unfit(replace(FITTING, fits="tight"), recipe)


def test_the_knob_its_place_and_the_number_that_fits(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    total = recipe.values["micro_batch_size"] * recipe.values["gradient_accumulation_steps"]
    knob(monkeypatch, {"micro_batch_size": 1, "gradient_accumulation_steps": total})
    with pytest.raises(Refused) as caught:
        refuse_unfit(TOO_LARGE, recipe)
    (told,) = caught.value.diagnostics
    assert told.code == "R201"
    assert told.span == recipe.doc.keys["micro_batch_size"].key
    assert told.message == (
        "the recipe needs 101.0 GiB of GPU memory and CUDA's own on top, `2xh100` has 79.1 GiB on each of its GPUs"
    )
    assert told.label == "`1` fits: 60.0 of 79.1 GiB at peak (backward-last)"
    assert told.notes == ("most of it: activations 64.8 GiB, weights 24.2 GiB, layer 12.0 GiB",)
    assert told.help == (
        f"set `micro_batch_size: 1` and `gradient_accumulation_steps: {total}`, which keeps the global batch: "
        "60.0 of 79.1 GiB at peak (backward-last)"
    )


def test_a_knob_that_the_recipe_lacks_is_named_at_the_model(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    knob(monkeypatch, {"load_in_8bit": True})
    told = unfit(TOO_LARGE, recipe)
    assert (told.span, told.label) == (recipe.doc.keys["base_model"].key, "")
    assert told.help == "set `load_in_8bit: true`: 60.0 of 79.1 GiB at peak (backward-last)"


def test_the_better_plan_is_told_by_what_was_short(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    roomy = replace(FITTING, fits="tight", host=replace(FITTING.host, gib=near(430.0)))
    knob(monkeypatch, {"sequence_len": 1024}, roomy)
    assert unfit(TOO_LARGE, recipe).help.endswith(": 60.0 of 79.1 GiB at peak, 66.0 reserved")
    assert unfit(NO_RAM, recipe).help.endswith(": 430.0 of 442 GiB of host RAM")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"adapter": "qlora", "load_in_4bit": True},
            "set `adapter: qlora` and `load_in_4bit: true`, which changes what is trained: ",
        ),
        ({"sequence_len": 1024}, "set `sequence_len: 1024`, which cuts longer samples: "),
        ({"optimizer": "adamw_8bit"}, "set `optimizer: adamw_8bit`, which rounds the optimizer's states: "),
        ({"deepspeed": "zero3"}, "set `deepspeed: zero3`: "),
    ],
)
def test_what_a_knob_changes_in_the_learning_is_said(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], told: str
) -> None:
    knob(monkeypatch, settings)
    assert unfit(TOO_LARGE, recipe).help == told + "60.0 of 79.1 GiB at peak (backward-last)"


def test_without_a_knob_the_search_is_pointed_to(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    knob(monkeypatch, None)
    told = unfit(NO_RAM, recipe)
    assert told.message == "the recipe needs 500.0 GiB of host RAM, `2xh100` has 442 GiB"
    assert told.span == recipe.doc.keys["base_model"].key
    assert "`runner plan phase4/lora-13b --fit` searches all of them together" in told.help
    both = unfit(replace(TOO_LARGE, host=NO_RAM.host), recipe)
    assert both.notes[-1] == "host RAM is short too: 500.0 of 442 GiB"


def test_a_file_elsewhere_is_called_by_its_path(recipe: Recipe) -> None:
    assert called(recipe) == "phase4/lora-13b"
    assert called(replace(recipe, doc=replace(recipe.doc, file="/tmp/mine.yaml"))) == "/tmp/mine.yaml"
