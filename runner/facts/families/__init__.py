"""transformers config -> Architecture; a family is one entry of `FAMILIES` in a module of this folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from runner.facts.architecture import Architecture

ANY_OTHER = "*"  # under which unknown.py offers what is assumed of a `model_type` that no module names


@cache
def families() -> dict[str, Callable[[dict[str, Any]], Architecture]]:
    """Every family that is counted exactly, by its `model_type`."""
    found: dict[str, Callable[[dict[str, Any]], Architecture]] = {}
    for module in iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "FAMILIES", {})
    return found


def architecture_of(config: dict[str, Any]) -> Architecture:
    """What a model of this config.json is made of, equal to transformers' own to the parameter.

    Keys that are missing take the defaults of the config's class. A `model_type` we don't know is assumed to be a
    Llama of the sizes it gives (`known` is False). `counts_as` names a family that stands for another, as the config of
    a class of the user's own does. Raises ValueError where a size is nonsense, or none is given.
    """
    known = families()
    name = str(config.get("counts_as") or config.get("model_type", ""))
    return known.get(name, known[ANY_OTHER])(config)
