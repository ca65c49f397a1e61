"""Serve keys in another engine's words, and whatever `engine_args` adds in its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def translated(values: Mapping[str, Any], flags: Mapping[str, str], underscores: bool = False) -> list[str]:
    """`flags`: serve key -> the engine's flag. A flag of true stands alone; false and null are left out."""
    words: list[str] = []
    for key, flag in flags.items():
        words += _words(flag, values.get(key))
    for key, value in (values.get("engine_args") or {}).items():
        words += _words(f"--{key}" if underscores else f"--{key.replace('_', '-')}", value)
    return words


def _words(flag: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    return [flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)]
