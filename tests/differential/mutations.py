"""A shipped recipe -> the same one mutated, as hypothesis draws it: keys gone, other values, misspelt, combined."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from runner.recipe.document import Path, dotted
from runner.recipe.kinds import header_keys, kind_schema
from runner.recipe.rules.axolotl.names import KERNELS, OPTIMIZERS, SCHEDULES, SUPERVISED, TEMPLATES
from tests.differential.combinations import COMBINATIONS
from tests.differential.plugins import PLUGINS

# what the schema has as plain text, and the engine knows names for
NAMES: dict[str, list[str]] = {
    "optimizer": OPTIMIZERS,
    "lr_scheduler": SCHEDULES,
    "attn_implementation": [*KERNELS, "kernels-community/flash-attn3", "flash"],
    "chat_template": TEMPLATES,
    "adapter": ["lora", "qlora", "dora"],
    "type": [*SUPERVISED, "sharegpt", "chat_template.default", "chatml.argilla"],
    "deepspeed": ["zero1", "zero2", "zero3", "zero2_offload", "deepspeed_configs/zero3_bf16.json"],
    "gradient_accumulation_steps": ["2"],
    "merge_method": ["legacy", "memory_efficient"],
}
NUMBERS = [0, 1, 2, 3, 8, 64, 1000, -1, 0.5, 0.1, 1e-9, -0.5]
OFTEN = ["delete", "other", "other", "wrong", "unknown", "swap", "add", "add", "combine", "combine"]
WRONG: list[Any] = ["many", [1, 2], {"a": 1}, "", "no", "5", "1e-4", 1.5, True, -3]


@dataclass(frozen=True, slots=True)
class Mutated:
    """`changes` are done to the recipe `base` and to the config that it renders: a path and its new value, GONE where
    there is none any more."""

    base: str
    what: str
    changes: tuple[tuple[Path, Any], ...]


GONE = object()


def apply(values: Mapping[str, Any], changes: tuple[tuple[Path, Any], ...]) -> dict[str, Any]:
    """A copy with them done; what leads nowhere is passed over."""
    made = deepcopy(dict(values))
    for path, value in changes:
        at: Any = made
        for part in path[:-1]:
            at = at.get(part) if isinstance(at, dict) else at[part] if isinstance(at, list) and part < len(at) else None
        if isinstance(at, dict) and value is GONE:
            at.pop(path[-1], None)
        elif isinstance(at, dict):
            at[path[-1]] = value
    return made


def mutations(bases: Mapping[str, dict[str, Any]]) -> st.SearchStrategy[Mutated]:
    """`bases` are recipes by name, as plain data, all of whose keys but the header's are the engine's."""
    return st.composite(_draw)(bases)


def _draw(draw: st.DrawFn, bases: Mapping[str, dict[str, Any]]) -> Mutated:
    name = draw(st.sampled_from(sorted(bases)))
    values = bases[name]
    schema = dict(kind_schema(str(values["kind"])))
    if values["kind"] == "multimodal":  # whose rows are the runner's to read
        schema["properties"] = {k: v for k, v in schema["properties"].items() if k not in ("datasets", "test_datasets")}
    how = draw(
        st.sampled_from(["delete", "other", "other", "wrong", "unknown", "swap", "add", "add", "combine", "combine"])
    )
    changes = _HOW[how](draw, values, schema)
    if draw(st.integers(0, 3)) == 0:
        changes += _HOW[draw(st.sampled_from(["delete", "other", "add", "combine"]))](draw, values, schema)
    told = ", ".join(f"-{dotted(p)}" if v is GONE else f"{dotted(p)}={v!r}" for p, v in changes)
    return Mutated(name, f"{how}: {told}", changes)


Changes = tuple[tuple[Path, Any], ...]


def _leaves(values: Mapping[str, Any]) -> list[Path]:
    """Paths of the engine's keys that the recipe gives, lists of mappings and mappings opened."""
    found: list[Path] = []

    def walk(path: Path, value: Any) -> None:
        if isinstance(value, dict) and path:
            for key, below in value.items():
                walk((*path, key), below)
        if isinstance(value, list):
            for i, below in enumerate(value):
                if isinstance(below, dict):
                    walk((*path, i), below)
        if path and isinstance(path[-1], str):
            found.append(path)

    for key, value in values.items():
        if key not in header_keys():
            walk((key,), value)
    return found


def _schema_at(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema
    for part in path:
        if isinstance(part, int):
            items = found.get("items", {})
            found = items if isinstance(items, dict) else {}
        else:
            found = found.get("properties", {}).get(part, {})
    return found


def _value(draw: st.DrawFn, key: str, schema: Mapping[str, Any]) -> Any:
    """One that the schema allows, or nearly."""
    if "enum" in schema:
        return draw(st.sampled_from([v for v in schema["enum"] if v is not None]))
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else [t for t in types if t != "null"]
    if key in NAMES and "string" in types:
        return draw(st.sampled_from(NAMES[key]))
    kind = draw(st.sampled_from(types)) if types else "boolean"
    if kind == "boolean":
        return draw(st.booleans())
    if kind == "integer":
        return draw(st.sampled_from([n for n in NUMBERS if isinstance(n, int)]))
    if kind == "number":
        return draw(st.sampled_from(NUMBERS))
    if kind == "array":
        items = schema.get("items", {})
        return [_value(draw, key, items)] if isinstance(items, dict) and items.get("type") else ["q_proj"]
    if kind == "object":
        known = sorted(schema.get("properties", {}))
        if not known:
            return {}
        below = draw(st.sampled_from(known))
        return {below: _value(draw, below, schema["properties"][below])}
    return draw(st.sampled_from(["auto", "steps", "epoch", "text", "q_proj"]))


def _delete(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    return ((draw(st.sampled_from(_leaves(values))), GONE),)


def _other(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    path = draw(st.sampled_from(_leaves(values)))
    return ((path, _value(draw, str(path[-1]), _schema_at(schema, path))),)


def _wrong(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    return ((draw(st.sampled_from(_leaves(values))), draw(st.sampled_from(WRONG))),)


def _unknown(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    """A misspelling: two letters of the key the other way round."""
    path = draw(st.sampled_from([p for p in _leaves(values) if len(str(p[-1])) > 3]))
    key = str(path[-1])
    i = draw(st.integers(0, len(key) - 2))
    misspelt = key[:i] + key[i + 1] + key[i] + key[i + 2 :]
    at: Any = values
    for part in path:
        at = at[part]
    return ((path, GONE), ((*path[:-1], misspelt if misspelt != key else key + "s"), at))


def _swap(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    top = [p for p in _leaves(values) if len(p) == 1]
    one, two = draw(st.sampled_from(top)), draw(st.sampled_from(top))
    return ((one, values[str(two[0])]), (two, values[str(one[0])]))


def _add(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    keys = sorted(set(schema["properties"]) - header_keys() - set(values))
    key = draw(st.sampled_from(keys))
    return (((key,), _value(draw, key, schema["properties"][key])),)


def _combine(draw: st.DrawFn, values: Mapping[str, Any], schema: Mapping[str, Any]) -> Changes:
    """Options that some validator has something to say about; only those that the kind has keys for."""
    known = schema["properties"]
    fit = [c for c in [*COMBINATIONS, *PLUGINS] if all(key.split(".")[0] in known for key in c)]
    chosen = draw(st.sampled_from(fit))
    changes: Changes = ()
    for key, value in chosen.items():
        parts = tuple(key.split("."))
        if len(parts) > 1 and not isinstance(values.get(parts[0]), dict):
            changes += (((parts[0],), {}),)
        changes += ((parts, value),)
    return changes


_HOW = {
    "delete": _delete, "other": _other, "wrong": _wrong, "unknown": _unknown, "swap": _swap, "add": _add,
    "combine": _combine,
}  # fmt: skip
