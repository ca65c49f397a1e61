"""Runs in Axolotl's environment: prints the JSON Schema of every key that this Axolotl and its plugins accept.

`axolotl config-schema` falls back to bare type names when one field (a torch dtype) has no JSON form, and leaves
out the keys that plugins add; this asks pydantic directly and gives such a field the empty schema.
"""

import importlib
import json
import sys
from typing import Any

from axolotl.utils.schemas.config import AxolotlInputConfig
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError

# The plugins whose keys a recipe may use: those that need no package beyond Axolotl's own environment.
PLUGINS = {
    "axolotl.integrations.liger.LigerPlugin": "axolotl.integrations.liger.args.LigerArgs",
    "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin": (
        "axolotl.integrations.cut_cross_entropy.args.CutCrossEntropyArgs"
    ),
    "axolotl.integrations.spectrum.SpectrumPlugin": "axolotl.integrations.spectrum.args.SpectrumArgs",
    "axolotl.integrations.kernels.KernelsPlugin": "axolotl.integrations.kernels.args.KernelsArgs",
}


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


def main() -> None:
    schema = schema_of(AxolotlInputConfig)
    plugins: dict[str, Any] = {}
    for plugin, args in PLUGINS.items():
        module, name = args.rsplit(".", 1)
        plugins[plugin] = schema_of(getattr(importlib.import_module(module), name))
    version = importlib.import_module("importlib.metadata").version("axolotl")
    json.dump({"version": version, "schema": schema, "plugins": plugins}, sys.stdout)


if __name__ == "__main__":
    main()
