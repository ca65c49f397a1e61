"""Engine's own schema + data/keys + data/kinds -> schemas/<kind>.schema.json; run by `make schemas`.

A pydantic schema says "string or null" as `anyOf`, and after one mistake a validator can only answer "not valid under
any of these". Here every key becomes one closed, flat schema, so that an error is about the key and its type.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
_KEPT = ("enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength")
SCALAR_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


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
    for schema in (raw["schema"], *raw["plugins"].values()):
        defs = schema.get("$defs", {})
        for key, value in schema["properties"].items():
            flat = flatten(value, defs, words["definitions"])
            if "default" in value and value["default"] is not None:
                flat["default"] = value["default"]
            if value.get("deprecated"):
                flat["deprecated"] = True
            flat["description"] = words["keys"].get(key, "")
            found[key] = flat
    return dict(sorted(found.items()))


def kind_schema(kind: str, spec: Json, header: Json, engine: Json, raw: Json, words: Json) -> Json:
    """The closed schema of one kind."""
    own = {key: header["own"][key] for key in spec.get("own", ())}
    properties = {**header["common"], **own, **engine}
    properties["kind"] = {**properties["kind"], "const": kind}
    for key in spec.get("without", ()):
        properties.pop(key, None)
    if "datasets" in spec:
        item = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in spec["datasets"]]}
        rows = flatten(item, raw["schema"]["$defs"], words["definitions"])
        for key in ("datasets", "test_datasets"):
            properties[key] = {**properties[key], "items": rows}
    for key, narrower in spec.get("properties", {}).items():
        properties[key] = {**properties[key], **narrower}
    # the string form of a learning rate is PyYAML's trouble with `1e-5`, not a form to allow
    properties["learning_rate"] = {**properties["learning_rate"], "type": "number", "exclusiveMinimum": 0}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": spec["title"],
        "description": f"Recipe of kind `{kind}`; generated by `make schemas` from {spec['engine']} {raw['version']}",
        "x-runner": {"engine": spec["engine"], "outputs": spec["outputs"]},
        "type": "object",
        "required": ["recipe", "kind", "title", *spec.get("required", ())],
        "additionalProperties": False,
        "properties": properties,
    }


def read_raw(file: Path) -> Json:
    """What `runner/jobs/axolotl_schema.py` printed; the engine's banner may stand before it."""
    text = file.read_text()
    found: Json = json.loads(text[text.index('{"version"') :])
    return found


def build(raw_file: Path, data: Path, schemas: Path) -> list[Path]:
    """Write every kind's schema; returns the files."""
    raw = read_raw(raw_file)
    words = yaml.safe_load((data / "keys" / "axolotl.yaml").read_text())
    header = yaml.safe_load((data / "keys" / "header.yaml").read_text())
    engine = engine_properties(raw, words)
    written = []
    for file in sorted((data / "kinds").glob("*.yaml")):
        spec = yaml.safe_load(file.read_text())
        schema = kind_schema(file.stem, spec, header, engine, raw, words)
        target = schemas / f"{file.stem}.schema.json"
        target.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
        written.append(target)
    return written


if __name__ == "__main__":
    raw_path, data_dir, schema_dir = map(Path, sys.argv[1:4])
    for path in build(raw_path, data_dir, schema_dir):
        print(path)
