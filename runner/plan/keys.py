"""Mappings among a recipe's values, as the plan reads them: whatever else stands there counts as nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def section(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mapping at `key`; empty where there is none."""
    given = values.get(key)
    return given if isinstance(given, dict) else {}


def fsdp_section(values: Mapping[str, Any]) -> dict[str, Any]:
    """`fsdp_config`, whose keys Axolotl takes with and without the prefix `fsdp_`; here they are without."""
    return {key.removeprefix("fsdp_"): value for key, value in section(values, "fsdp_config").items()}
