"""Former keys, and other tools', lead to keys that there are."""

from __future__ import annotations

import re

import pytest

from runner.recipe.kinds import engine_of, former_keys, kind_names, kind_schema

ENGINES = ("axolotl", "transformers", "vllm")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_former_key_is_none_any_more_and_its_mend_names_keys_that_are(engine: str) -> None:
    known = set().union(*(kind_schema(k)["properties"] for k in kind_names() if engine_of(k) == engine))
    former = former_keys(engine)
    assert len(former) > 5
    assert set(former) & known == set()
    named = {word for mend in former.values() for word in re.findall(r"(?:to|set|use|and|or|it to) `(\w+)", mend)}
    assert len(named) > 4
    assert named - known == set()


def test_engines_without_a_list_have_none() -> None:
    assert former_keys("datatrove") == {}
