"""text-generation-inference, archived by its makers in March 2026: `text-generation-launcher`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import quiet, translated
from runner.facts.boxes import Box


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["text-generation-launcher", "--model-id", str(values["model"]), "--hostname", host, "--port", str(port)]
    if modules := values.get("lora_modules"):
        words += ["--lora-adapters", ",".join(f"{m['name']}={m['path']}" for m in modules)]
    return [*words, *translated(values, "tgi")]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
