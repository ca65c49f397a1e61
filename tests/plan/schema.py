"""schemas/plan.schema.json, asked about data."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from tests.conftest import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "plan.schema.json").read_text())


def faults(data: Any, part: str = "") -> list[str]:
    """Everything in which `data` is not as the schema says; `part` is one of its $defs."""
    schema = {**SCHEMA, "$id": "plan"}
    if part:
        schema = {"$defs": {"plan": schema}, "$ref": f"plan#/$defs/{part}"}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(data)]
