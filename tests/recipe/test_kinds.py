"""Every kind is whole: schema, templates, engine, a recipe, and a golden folder."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.kinds import engine_of, kind_names, kind_schema
from runner.render import template_folder
from tests.conftest import ROOT

RECIPES = {f: compose(Project(ROOT), f) for f in Project(ROOT).all_recipes()}


def test_the_kinds() -> None:
    train = ["causal-lm", "dpo", "finetune", "masked-lm", "moe", "pipeline", "pretrain", "reward", "rlhf", "seq2seq"]
    train += ["flamingo", "multimodal"]
    rest = ["bench", "compare", "eval", "prepare", "quantize", "rag", "serve", "sweep", "tokenizer"]
    assert kind_names() == sorted([*train, *rest])
    # a schema without `x-runner` describes something else
    assert (ROOT / "schemas" / "plan.schema.json").is_file()


@pytest.mark.parametrize("kind", kind_names())
def test_a_kind_has_all_its_parts(kind: str) -> None:
    engine = importlib.import_module(f"runner.engines.{engine_of(kind)}")
    for name in ("ENVIRONMENT", "jobs", "steps", "context", "failure"):
        assert hasattr(engine, name)
    assert (template_folder(kind, engine_of(kind)) / "launch.sh.j2").is_file()
    assert kind in {doc.keys["kind"].value for doc in RECIPES.values()}
    assert (ROOT / "tests/golden" / kind).is_dir()
    assert kind_schema(kind)["x-runner"]["outputs"]


def combinators(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [c for s in schema for c in combinators(s)]
    if not isinstance(schema, dict):
        return []
    here = [k for k in schema if k in ("anyOf", "oneOf", "allOf", "$ref")]
    return here + [c for value in schema.values() for c in combinators(value)]


@pytest.mark.parametrize("kind", kind_names())
def test_a_schema_is_closed_flat_and_told(kind: str) -> None:
    schema = kind_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert combinators(schema) == []
    assert [k for k, v in schema["properties"].items() if not v.get("description")] == []


@pytest.mark.parametrize("file", RECIPES, ids=lambda f: f.stem)
def test_a_shipped_recipe_has_its_header(file: Any) -> None:
    lines = file.read_text().splitlines()
    kind = RECIPES[file].keys["kind"].value
    assert lines[0] == f"# yaml-language-server: $schema=../../schemas/{kind}.schema.json"
    assert [line.split(":")[0] for line in lines[1:4]] == ["# Teaches", "# Needs", "# Expect"]
    week = RECIPES[file].keys["week"].value
    assert isinstance(week, int)
    assert 1 <= week <= 20
