"""Values as PyYAML and Axolotl's own types read them -> the same values in YAML 1.2."""

from __future__ import annotations

import re
from typing import Any

from runner.importing.places import Change, changed, nodes_of, scalars
from runner.importing.types import Row
from runner.recipe.document import Path, dotted

_WORD = re.compile(r"yes|no|on|off", re.IGNORECASE)
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SIXTIES = re.compile(r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# what Axolotl's types take for true and false beside the words themselves
_TRUE, _FALSE = ("true", "yes", "on", "t", "y", "1"), ("false", "no", "off", "f", "n", "0")


def mended(text: str, properties: dict[str, Any]) -> tuple[str, list[Row]]:
    """The text with each value written so that the recipe's reader takes it for what was meant, and a row for each.

    `properties` are the JSON Schema of the keys. Text where a number is wanted is a number: Axolotl's own types say so.
    """
    changes: list[Change] = []
    rows = []
    for path, node in scalars(nodes_of(text)):
        instead, why = _instead(node, _types(path, str(node.value), properties))
        if instead is not None and node.start_mark.index < node.end_mark.index:
            changes.append((node.start_mark.index, node.end_mark.index, instead))
            rows.append(Row(dotted(path), instead, why))
    return changed(text, changes), rows


def _instead(node: Any, types: set[str]) -> tuple[str | None, str]:
    value = str(node.value)
    plain = node.style is None
    if plain and types and types <= {"integer", "number"} and value.lower() in (*_TRUE[:3], *_FALSE[:3]):
        return str(int(value.lower() in _TRUE)), "Axolotl takes it so"
    if plain and _WORD.fullmatch(value):
        if types and "boolean" not in types and "string" in types:
            return f'"{value}"', "a word here, which YAML 1.1 takes for true or false"
        return ("true" if value.lower() in _TRUE else "false"), "YAML 1.1 reads it so"
    if plain and _OCTAL.fullmatch(value):
        return str(int(value.replace("_", ""), 8)), "YAML 1.1 reads it as octal"
    if plain and _SIXTIES.fullmatch(value) and types & {"integer", "number"}:
        return str(_sixties(value)), "YAML 1.1 reads it in sixties"
    if types and "string" not in types:
        if not plain and types & {"integer", "number"} and _NUMBER.fullmatch(value):
            return value, "a number in quotes"
        if "boolean" in types and not types & {"integer", "number"} and (not plain or value in "01"):
            for words, meant in ((_TRUE, "true"), (_FALSE, "false")):
                if value.lower() in words:
                    return meant, "Axolotl takes it so"
    return None, ""


def _sixties(value: str) -> int:
    sign = -1 if value.startswith("-") else 1
    total = 0
    for part in value.lstrip("+-").replace("_", "").split(":"):
        total = total * 60 + int(part)
    return sign * total


def _types(path: Path, value: str, properties: dict[str, Any]) -> set[str]:
    """What the schema takes at `path`, text only if this is one of the words it lists; empty where it takes anything,
    or knows nothing."""
    schema: Any = {"properties": properties}
    for part in path:
        below = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        if below is None and isinstance(part, str):
            below = schema.get("additionalProperties")
        if not isinstance(below, dict):
            return set()
        schema = below
    types = schema.get("type", [])
    found = set([types] if isinstance(types, str) else types) - {"null"}
    return found - {"string"} if "enum" in schema and value not in schema["enum"] else found
