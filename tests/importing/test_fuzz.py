"""Whatever is imported comes to a recipe or to diagnostics, never to a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.importing import detect
from runner.importing.kind import axolotl_properties
from runner.importing.read import read
from runner.recipe.load import Refused, parse

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(
        ["yes", "no", "1e-5", "010", "a/b", "a,b", "${X}", "all", "dpo", "lora", "4", "steps", "1:30", "", "{x}"]
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.sampled_from("abc"), below, max_size=3)),
    max_leaves=4,
)
PARTS = [
    *("base_model: a\n", "lora_r: 8\n", "rl: dpo\n", "title: x\n", "k: no\n", "  y: 1\n", "- x\n", "a: |\n", "  # c\n"),
    *("\t", "&a ", "*a", "<<: ", "[", "}", "---\n", "? ", "'", '"', "\x85", "%YAML 1.1\n", "...\n", "deepspeed: .\n"),
]
NAMES = {name: sorted(module.known()) for name, module in detect.TOOLS.items()}


def comes_to_something(raw: bytes, tool: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_bytes(raw)
        try:
            made = detect.translate(read(file), Path(folder), tool)
        except Refused as refused:
            told = {d.code for d in refused.diagnostics}
        else:
            told = {d.code for d in made.found}
            assert parse(made.text, "recipe", "recipe").keys["kind"].value == made.kind
        assert all(code.startswith("R8") for code in told)


@pytest.mark.parametrize("tool", detect.TOOLS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_values_of_known_keys(tool: str, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(NAMES[tool]), min_size=1, max_size=8, unique=True))
    config = {key: data.draw(VALUES) for key in keys}
    comes_to_something(yaml.safe_dump(config, allow_unicode=True).encode(), tool)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PARTS), max_size=9))
def test_any_text(parts: list[str]) -> None:
    comes_to_something(("base_model: a\nlora_alpha: 1\n" + "".join(parts)).encode(), "axolotl")


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_bytes(raw: bytes) -> None:
    comes_to_something(raw, None)


def test_axolotl_has_hundreds_of_keys() -> None:
    assert len(axolotl_properties()) > 400
