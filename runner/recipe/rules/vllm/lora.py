"""Rule about adapters beside the model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.adapters import CONFIG
from runner.recipe.rules import Facts, rule


@rule("R907", "adapters that can't be served so", source="https://docs.vllm.ai/en/latest/features/lora/")
def adapters(facts: Facts) -> Iterator[Diagnostic]:
    """Each adapter is a model of its own name in the list, so names must differ from each other and from the base's.
    vLLM passes over adapters without a word where LoRA is switched off, and refuses those with a higher rank than it
    made room for, with DoRA, or with whole modules trained beside the matrices.
    """
    modules = facts.get("lora_modules", [])
    if modules and facts.get("enable_lora") is False:
        yield facts.report(
            "R907",
            "enable_lora",
            "`lora_modules` would be passed over without a word",
            label="LoRA is switched off here",
            help="remove `enable_lora`: the runner sets it",
        )
    yield from _names(facts, modules)
    for i, module in enumerate(modules):
        yield from _one(facts, f"lora_modules.{i}.path", str(module.get("path", "")))
    yield from _one(facts, "model", str(facts.get("model", "")))


def _names(facts: Facts, modules: list[dict[str, Any]]) -> Iterator[Diagnostic]:
    given = facts.get("served_model_name", facts.doc.name.rpartition("/")[2])
    taken = Counter(given if isinstance(given, list) else [given])
    for i, module in enumerate(modules):
        name = module.get("name")
        if taken[name]:
            yield facts.report(
                "R907",
                f"lora_modules.{i}.name",
                f"two models are called `{name}`",
                help="give the adapter another name, or the model by `served_model_name`",
            )
        taken[name] += 1


def _one(facts: Facts, at: str, path: str) -> Iterator[Diagnostic]:
    config = _config((facts.root or Path.cwd()) / path) if path and not path.startswith("${") else {}
    rank, room = config.get("r"), facts.get("max_lora_rank")
    if isinstance(rank, int) and isinstance(room, int) and rank > room:
        yield facts.report(
            "R907",
            "max_lora_rank",
            f"the adapter has rank {rank}, there is room for {room}",
            help="remove `max_lora_rank`: the runner sets what the adapters need",
        )
    whole = config.get("modules_to_save") or []
    trouble = f"trained whole modules ({', '.join(map(str, whole))})" if whole else "is a DoRA"
    if whole or config.get("use_dora"):
        yield facts.report(
            "R907",
            at,
            f"the adapter {trouble}, which vLLM can't serve beside its base",
            help="merge it into its base (`merge: true`) and serve the model",
        )


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
