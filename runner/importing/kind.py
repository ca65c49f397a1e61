"""Axolotl's keys and values -> the kind of recipe they describe, and a title that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.models import find_model
from runner.importing.pictures import KIND as PICTURES
from runner.importing.pictures import sees
from runner.recipe.kinds import engine_of, kind_names, kind_schema
from runner.recipe.load import printable

ENGINE = "axolotl"
_PAIRS = ("dpo", "ipo", "kto", "orpo", "simpo")
# of names on the hub: families of experts, and sizes such as 30B-A3B, of which three are used
_EXPERTS = re.compile(r"mixtral|moe|dbrx|gpt-oss|grok|deepseek-v[2-9]|llama-4|\d+b-a\d", re.IGNORECASE)
# families that hear, whose rows hold sound
_HEARS = re.compile(r"voxtral|audio", re.IGNORECASE)
_TITLES = {"pretrain": "pretraining", "reward": "reward training"}
_HEADED = 120


@cache
def axolotl_kinds() -> tuple[str, ...]:
    return tuple(kind for kind in kind_names() if engine_of(kind) == ENGINE)


@cache
def axolotl_properties() -> dict[str, Any]:
    """Every key that Axolotl has, with its schema; the header's are not among them."""
    from runner.recipe.kinds import header_keys

    found: dict[str, Any] = {}
    for kind in ("finetune", *axolotl_kinds()):
        for key, schema in kind_schema(kind)["properties"].items():
            found.setdefault(key, schema)
    own = {"new_projector", "questions"}  # kind multimodal's
    return {key: schema for key, schema in found.items() if key not in header_keys() | own}


def kind_of(values: Mapping[str, Any], root: Path | None = None) -> tuple[str, str]:
    """The kind, and what it was told by."""
    if rl := values.get("rl"):
        return ("dpo" if rl in _PAIRS else "rlhf"), f"`rl: {printable(str(rl))}`"
    if values.get("reward_model"):
        return "reward", "`reward_model`"
    for kind, why in _supervised(values, root):
        if not any(values[key] for key in missing_in(kind, values)):
            return kind, why
    return "finetune", "nothing in it says otherwise"


def missing_in(kind: str, values: Mapping[str, Any]) -> list[str]:
    """The keys of Axolotl's among these that recipes of the kind don't have."""
    return [k for k in values if k in axolotl_properties() and k not in kind_schema(kind)["properties"]]


def _supervised(values: Mapping[str, Any], root: Path | None) -> list[tuple[str, str]]:
    found = []
    base = str(values.get("base_model") or "")
    sets = values.get("datasets")
    rows = [row for row in sets if isinstance(row, dict)] if isinstance(sets, list) else []
    if values.get("processor_type") and sees(values) and not _HEARS.search(base):
        found.append((PICTURES, "`processor_type`"))
    if values.get("pretraining_dataset"):
        found.append(("pretrain", "`pretraining_dataset`"))
    if values.get("reinit_weights"):
        found.append(("pretrain", "`reinit_weights`"))
    model = find_model(base, root) if base else None
    if _EXPERTS.search(base) or (model is not None and model.experts > 0):
        found.append(("moe", f"`{printable(base)}` has experts"))
    if rows and all(str(row.get("type")).split(".")[0] in ("completion", "pretrain") for row in rows):
        found.append(("pretrain", "all rows are plain text"))
    return found


def title_of(kind: str, values: Mapping[str, Any]) -> str:
    """One line of at most 120 characters for the header."""
    adapter = {"lora": "LoRA ", "qlora": "QLoRA "}.get(str(values.get("adapter")), "")
    rl = str(values.get("rl") or "").upper()
    what = rl or _TITLES.get(kind, "finetuning")
    base = printable(str(values.get("base_model") or "a model").rstrip("/").rpartition("/")[2], 60)
    title = f"{adapter}{what} of {base}"
    return printable(title[0].upper() + title[1:], _HEADED)
