"""Engines' own schemas + data/keys + data/kinds -> schemas/<kind>.schema.json; run by `make schemas`.

A pydantic schema says "string or null" as `anyOf`, and after one mistake a validator can only answer "not valid under
any of these". Here every key becomes one closed, flat schema, so that an error is about the key and its type.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
_KEPT = ("enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength")
SCALAR_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine's own schema as its job printed it, our words for it, and what `engine_properties` makes of both."""

    raw: Json
    words: Json
    properties: Json


def flatten(schema: Json, defs: Json, words: Json) -> Json:
    """One schema without `$ref`, `anyOf` and `allOf`: the union of the alternatives, type by type."""
    options = [_resolve(o, defs) for o in _options(schema)]
    types: list[str] = []
    enum: list[Any] = []
    free: set[str] = set()
    out: Json = {}
    for name, option in options:
        own = option.get("type")
        if "const" in option:
            option = {**option, "enum": [option["const"]]}
        if "enum" in option:
            enum += [v for v in option["enum"] if v not in enum]
            own = own or [SCALAR_TYPES[type(v)] for v in option["enum"]]
        own = [own] if isinstance(own, str) else own
        if own is None:
            return {k: out[k] for k in ("description",) if k in out}  # anything goes
        types += [t for t in own if t not in types]
        if "enum" not in option:
            free |= set(own)
        out.update({k: option[k] for k in _KEPT if k in option and k != "enum"})
        if "items" in option:
            out["items"] = _union(out.get("items"), flatten(option["items"], defs, words))
        if "object" in own:
            _add_object(out, option, defs, words, name)
    out["type"] = types[0] if len(types) == 1 else types
    if enum and not free & {"string", "array", "object"}:
        if "boolean" in free:
            enum += [True, False]
        if "null" in free:
            enum.append(None)
        if not free & {"integer", "number"}:
            out["enum"] = enum
    return out


def _options(schema: Json) -> list[Json]:
    found: list[Json] = []
    for group in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(group, ()):
            found += _options(option)
    return found or [schema]


def _resolve(schema: Json, defs: Json) -> tuple[str, Json]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return name, defs[name]
    return "", schema


def _union(one: Json | None, two: Json) -> Json:
    if not one or one == two:
        return two
    merged = {**one, **two}
    types = [t for s in (one, two) for t in ([s["type"]] if isinstance(s.get("type"), str) else s.get("type", []))]
    merged["type"] = list(dict.fromkeys(types))
    if "properties" in one or "properties" in two:
        merged["properties"] = {**one.get("properties", {}), **two.get("properties", {})}
    return merged


def _add_object(out: Json, option: Json, defs: Json, words: Json, name: str) -> None:
    if "properties" not in option:
        more = option.get("additionalProperties", True)
        out.setdefault("additionalProperties", flatten(more, defs, words) if isinstance(more, dict) else more)
        return
    told = words.get(name, {})
    known = out.setdefault("properties", {})
    for key, value in option["properties"].items():
        flat = flatten(value, defs, words)
        if key in told:
            flat["description"] = told[key]
        known[key] = _union(known.get(key), flat)
    out["additionalProperties"] = False


def engine_properties(raw: Json, words: Json) -> Json:
    """Every key the engine and its plugins accept: key -> flat schema with our description."""
    found: Json = {}
    for schema in (raw["schema"], *raw.get("plugins", {}).values()):
        defs = schema.get("$defs", {})
        for key, value in schema["properties"].items():
            flat = flatten(value, defs, words.get("definitions", {}))
            if "default" in value and value["default"] is not None:
                flat["default"] = value["default"]
            if value.get("deprecated"):
                flat["deprecated"] = True
            flat["description"] = words["keys"].get(key, "")
            found[key] = flat
    return dict(sorted(found.items()))


def kind_schema(kind: str, spec: Json, header: Json, engine: Engine | None) -> Json:
    """The closed schema of one kind: header, then its own keys, then its engine's where that publishes a schema."""
    known = {**header["own"], **(engine.words.get("own", {}) if engine else {})}
    own = _own(spec.get("own", ()), known, (*header["own"], *spec.get("required", ())))
    stages = {name: _stage(stage, known, engine) for name, stage in spec.get("stages", {}).items()}
    engines = engine.properties if engine else {}
    ends = all(output["type"] != "endpoint" for output in spec["outputs"])
    common = {**header["common"], **(header["runs"] if ends else {})}
    properties = {**common, **own, **spec.get("keys", {}), **stages, **engines}
    properties["kind"] = {**properties["kind"], "const": kind}
    for key in spec.get("without", ()):
        properties.pop(key, None)
    if engine and "datasets" in spec:
        item = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in spec["datasets"]]}
        rows = flatten(item, engine.raw["schema"]["$defs"], engine.words["definitions"])
        for key in ("datasets", "test_datasets"):
            properties[key] = {**properties[key], "items": rows}
    for key, narrower in spec.get("properties", {}).items():
        properties[key] = {**properties[key], **narrower}
    if engine and "learning_rate" in properties:
        # the string form of a learning rate is PyYAML's trouble with `1e-5`, not a form to allow
        properties["learning_rate"] = {**properties["learning_rate"], "type": "number", "exclusiveMinimum": 0}
    source = f"{spec['engine']} {engine.raw['version']}" if engine else f"data/kinds/{kind}.yaml"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": spec["title"],
        "description": f"Recipe of kind `{kind}`; generated by `make schemas` from {source}",
        "x-runner": {name: spec[name] for name in ("engine", "outputs", "accepts", "servers") if name in spec},
        "type": "object",
        # what a parent may give instead; an editor sees one file
        "if": {"required": ["extends"]},
        "else": {"required": ["recipe", "kind", "title", *spec.get("required", ())]},
        "additionalProperties": False,
        "properties": properties,
    }


def _own(names: Iterable[str | dict[str, str]], known: Json, required: Iterable[str]) -> Json:
    """`datasets` by that name, or `{datasets: pair_datasets}`: what the kind means by it. A key that may be left out
    may be `null` too, which takes it away in a profile or by `--set`."""
    pairs = [(name, name) if isinstance(name, str) else next(iter(name.items())) for name in names]
    return {key: known[source] if key in required else _or_null(known[source]) for key, source in pairs}


def _or_null(schema: Json) -> Json:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema if "null" in types else {**schema, **more, "type": [*types, "null"]}


def _stage(spec: Json, known: Json, engine: Engine | None) -> Json:
    """A later stage of the same run: a mapping of what differs from the first, and of the stage's own keys."""
    return {
        "type": "object",
        "required": spec.get("required", []),
        "additionalProperties": False,
        "properties": {
            **_own(spec.get("own", ()), known, spec.get("required", ())),
            **(engine.properties if engine else {}),
        },
        "description": spec["description"],
    }


def read_engine(file: Path, words: Json) -> Engine:
    """What the engine's job (`runner/jobs/<engine>_schema.py`) printed; a banner may stand before it."""
    text = file.read_text()
    raw: Json = json.loads(text[text.index('{"version"') :])
    return Engine(raw, words, engine_properties(raw, words))


def build(raw_files: list[Path], data: Path, schemas: Path) -> list[Path]:
    """Write the schemas of every kind whose engine is among `raw_files` (`<engine>.json`) or needs none; returns them.

    A kind needs none where data/kinds gives all of its keys, and its engine has no file in data/keys.
    """
    header = yaml.safe_load((data / "keys" / "header.yaml").read_text())
    engines = {f.stem: read_engine(f, _words(data, f.stem) or {}) for f in raw_files}
    written = []
    for file in sorted((data / "kinds").glob("*.yaml")):
        spec = yaml.safe_load(file.read_text())
        if spec["engine"] not in engines and _words(data, spec["engine"]) is not None:
            continue
        schema = kind_schema(file.stem, spec, header, engines.get(spec["engine"]))
        target = schemas / f"{file.stem}.schema.json"
        target.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
        written.append(target)
    return written


def _words(data: Path, engine: str) -> Json | None:
    file = data / "keys" / f"{engine}.yaml"
    found: Json | None = yaml.safe_load(file.read_text()) if file.is_file() else None
    return found


if __name__ == "__main__":
    data_dir, schema_dir = map(Path, sys.argv[1:3])
    for path in build([Path(name) for name in sys.argv[3:]], data_dir, schema_dir):
        print(path)
