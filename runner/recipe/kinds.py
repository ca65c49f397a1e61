"""Kinds of recipe, found by looking: one schemas/<kind>.schema.json each, which says under `x-runner` what runs it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from runner.project import shipped

# keys of the header by which a run is supervised; no engine sees them
SUPERVISED = ("max_restarts", "hang_timeout_s")


def kind_names() -> list[str]:
    return list(_kinds())


@cache
def _kinds() -> tuple[str, ...]:
    """Other schemas lie there too: plan.schema.json describes what `runner plan --json` prints."""
    files = sorted(shipped("schemas").glob("*.schema.json"))
    return tuple(f.name.removesuffix(".schema.json") for f in files if '"x-runner"' in f.read_text())


@cache
def kind_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind, of a recipe that its parents have been added to: there `required` holds without
    condition. Raises KeyError for an unknown one."""
    if kind not in kind_names():
        raise KeyError(kind)
    schema: dict[str, Any] = json.loads((shipped("schemas") / f"{kind}.schema.json").read_text())
    if "if" in schema and "else" in schema:
        del schema["if"]
        schema |= schema.pop("else")
    return schema


def engine_of(kind: str) -> str:
    return str(kind_schema(kind)["x-runner"]["engine"])


@cache
def serves(kind: str) -> bool:
    """Whether recipes of this kind are served until somebody stops them, and so are never finished."""
    return any(output["type"] == "endpoint" for output in kind_schema(kind)["x-runner"]["outputs"])


@cache
def servers_in(kind: str) -> tuple[str, ...]:
    """Dotted paths of the mappings with keys of kind `serve` that such a recipe may hold, each with its own model."""
    return tuple(kind_schema(kind)["x-runner"].get("servers", ()))


@cache
def former_keys(engine: str) -> dict[str, str]:
    """Keys that the engine had once, or that other tools have: key -> what to write for it."""
    import yaml

    given: dict[str, dict[str, str]] = yaml.safe_load((shipped("data") / "keys" / "former.yaml").read_text())
    return given.get(engine, {})


@cache
def header_keys() -> frozenset[str]:
    """Keys that are the runner's own, of every kind: engines never see them."""
    import yaml

    given = yaml.safe_load((shipped("data") / "keys" / "header.yaml").read_text())
    return frozenset(given["common"]) | frozenset(given["runs"]) | frozenset(given["own"])
