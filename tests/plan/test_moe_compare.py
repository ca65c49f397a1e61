"""phase5/moe-compare compares what it says: equal active and equal total parameters, and as many operations."""

from __future__ import annotations

import pytest

from runner.facts.families import architecture_of
from runner.plan.reading import read_workload
from runner.plan.work import work
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.resolve import resolve
from runner.recipe.sweep import Child, children_of
from tests.conftest import ROOT

PROJECT = Project(ROOT)
TOLERANCE = 0.02
MIXTURES = ("top-2", "top-2-unbalanced", "top-1", "top-1-unbalanced")


def children(profile: str) -> dict[str, Child]:
    doc = compose(PROJECT, PROJECT.recipe_file("phase5/moe-compare"), profile=profile)
    library = Library(PROJECT, profile)
    recipe = resolve(PROJECT, doc, profile, lambda recipe, profile: None, library=library)
    return {child.name: child for child in children_of(library, recipe.doc)}


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_sizes_are_equal_where_they_are_compared(profile: str) -> None:
    sizes = {name: architecture_of(c.staged.keys["architecture"].plain()) for name, c in children(profile).items()}
    assert set(sizes) == {"dense-active", "dense-total", *MIXTURES}
    for name in MIXTURES:
        mixture = sizes[name]
        assert mixture.known
        assert mixture.active_parameters == pytest.approx(sizes["dense-active"].parameters, rel=TOLERANCE)
        assert mixture.parameters == pytest.approx(sizes["dense-total"].parameters, rel=TOLERANCE)
        assert mixture.active_parameters < 0.6 * mixture.parameters


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_all_see_the_same_tokens_and_equal_sizes_cost_equal_operations(profile: str) -> None:
    flops, tokens = {}, set()
    for name, child in children(profile).items():
        recipe = resolve(PROJECT, child.doc, profile, lambda recipe, profile: None, library=Library(PROJECT, profile))
        workload = read_workload(recipe)
        flops[name] = work(workload).model / workload.tokens
        values = child.staged.plain()
        tokens.add((values["max_steps"], values["per_device_train_batch_size"], values["sequence_len"], values["seed"]))
    assert len(tokens) == 1
    for name in MIXTURES:
        assert flops[name] == pytest.approx(flops["dense-active"], rel=TOLERANCE)
        assert flops[name] < 0.7 * flops["dense-total"]


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_only_the_balance_loss_differs_between_a_mixture_and_its_unbalanced_twin(profile: str) -> None:
    found = children(profile)
    for name in ("top-1", "top-2"):
        one, two = (found[n].staged.keys["architecture"].plain() for n in (name, f"{name}-unbalanced"))
        assert one.pop("router_aux_loss_coef") > two.pop("router_aux_loss_coef") == 0
        assert one == two
