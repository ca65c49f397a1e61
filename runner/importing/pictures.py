"""An Axolotl config for a model that sees -> kind multimodal's datasets, which are of one type and don't say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml.nodes import MappingNode, SequenceNode

from runner.importing.places import Change, changed, nodes_of
from runner.importing.types import Row
from runner.recipe.kinds import kind_schema

KIND = "multimodal"
_SETS = ("datasets", "test_datasets")
# of every dataset of the kind's, and so not written
_TYPE = {"type": "chat_template"}


def sees(values: Mapping[str, Any]) -> bool:
    """Whether kind multimodal can hold it: rows of other types, and those with keys of their own, are beyond it."""
    schema = kind_schema(KIND)
    own = schema["properties"]["datasets"]["items"]["properties"].keys()
    listed = [row for key in _SETS for row in values.get(key) or ()] if _are_lists(values) else [None]
    rows = [row for row in listed if isinstance(row, dict)]
    known = len(rows) == len(listed) and all(_fits(row, own) for row in rows)
    return bool(rows) and known and all(values.get(key) for key in schema["required"] if key not in _HEADER)


_HEADER = ("recipe", "kind", "title")


def _are_lists(values: Mapping[str, Any]) -> bool:
    return all(isinstance(values.get(key) or [], list) for key in _SETS)


def _fits(row: dict[str, Any], own: Any) -> bool:
    return all(row.get(k) == v for k, v in _TYPE.items()) and row.keys() - _TYPE.keys() <= own


def without_types(text: str) -> tuple[str, list[Row]]:
    changes: list[Change] = []
    for key, node in nodes_of(text).value:
        if key.value in _SETS and isinstance(node, SequenceNode):
            for row in node.value:
                changes += _removed(text, row) if isinstance(row, MappingNode) else ()
    rows = [Row("datasets.*.type", "", f"kind {KIND} has no other")] if changes else []
    return changed(text, changes), rows


def _removed(text: str, row: MappingNode) -> Iterator[Change]:
    for i, (key, node) in enumerate(row.value):
        if key.value in _TYPE and i + 1 < len(row.value):
            yield key.start_mark.index, row.value[i + 1][0].start_mark.index, ""
        elif key.value in _TYPE:
            before = row.value[i - 1][1].end_mark.index if row.flow_style else text.rfind("\n", 0, key.start_mark.index)
            yield before, node.end_mark.index, ""
