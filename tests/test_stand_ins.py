"""What `make test` leaves to `make test-all` is really shown by what it keeps."""

from __future__ import annotations

import pytest

from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.graph import needs_of
from runner.recipe.kinds import engine_of
from tests.conftest import ROOT
from tests.engine.stand_ins import STANDS_IN

PROJECT = Project(ROOT)
COMPOSED = {PROJECT.recipe_name(f): compose(PROJECT, f, profile="smoke") for f in PROJECT.all_recipes()}


def kind(name: str) -> str:
    return str(COMPOSED[name].keys["kind"].value)


@pytest.mark.parametrize("name", STANDS_IN)
def test_what_stands_in_is_smoked_and_has_the_same_engine(name: str) -> None:
    for other in STANDS_IN[name]:
        assert other not in STANDS_IN, f"{other} is left out itself"
        assert other in COMPOSED
    assert engine_of(kind(name)) in {engine_of(kind(other)) for other in STANDS_IN[name]}


def test_no_recipe_that_is_smoked_brings_one_that_is_left_out() -> None:
    for name, doc in COMPOSED.items():
        if name not in STANDS_IN:
            assert {node.value for node in needs_of(doc).values()} & set(STANDS_IN) == set(), name


def test_every_kind_is_smoked() -> None:
    served = {"serve"}  # by test_serve.py, test_custom.py and the runs that start an endpoint
    assert {kind(name) for name in COMPOSED if name not in STANDS_IN} - served == set(map(kind, COMPOSED)) - served
