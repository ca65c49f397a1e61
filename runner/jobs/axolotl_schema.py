"""Runs in Axolotl's environment: prints the JSON Schema of every key that this Axolotl and its plugins accept.

`axolotl config-schema` falls back to bare type names when one field (a torch dtype) has no JSON form, and leaves
out the keys that plugins add; this asks pydantic directly and gives such a field the empty schema.
"""

import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import axolotl.integrations
from axolotl.integrations.base import BasePlugin
from axolotl.utils.schemas.config import AxolotlInputConfig
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError


class Lenient(GenerateJsonSchema):
    """Gives the empty schema to what has no JSON form."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}

    def enum_schema(self, schema: Any) -> dict[str, Any]:
        try:
            return super().enum_schema(schema)
        except PydanticSerializationError:  # an enum whose members are torch dtypes: by their member names
            return {"type": "string", "enum": [member.name for member in schema["members"]]}

    def emit_warning(self, kind: Any, detail: str) -> None:
        return


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(schema_generator=Lenient, by_alias=True)


def integrations() -> Iterator[tuple[str, Any]]:
    """Each package that Axolotl ships under `integrations`: its module, or the error that stops its import."""
    for found in pkgutil.iter_modules(axolotl.integrations.__path__, "axolotl.integrations."):
        if found.ispkg:
            try:
                yield found.name, importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                yield found.name, error


def plugins_of(name: str, module: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The plugins that a package offers, as `plugins` names them, with the class of their keys."""
    for word, value in inspect.getmembers(module, inspect.isclass):
        if issubclass(value, BasePlugin) and value is not BasePlugin and (args := value().get_input_args()):
            args_module, args_name = args.rsplit(".", 1)
            yield f"{name}.{word}", getattr(importlib.import_module(args_module), args_name)


def main() -> None:
    plugins: dict[str, Any] = {}
    unavailable: dict[str, str] = {}  # package of Axolotl's -> the library it can't be imported without
    for name, found in integrations():
        if isinstance(found, ModuleNotFoundError):
            unavailable[name] = str(found.name)
            continue
        plugins |= {plugin: schema_of(args) for plugin, args in plugins_of(name, found)}
    version = importlib.import_module("importlib.metadata").version("axolotl")
    told = {"version": version, "schema": schema_of(AxolotlInputConfig)}
    json.dump({**told, "plugins": plugins, "unavailable": unavailable}, sys.stdout)


if __name__ == "__main__":
    main()
