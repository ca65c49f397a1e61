"""SGLang: `sglang serve`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import base_name, quiet, translated
from runner.facts.boxes import Box


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["sglang", "serve", "--model-path", str(values["model"])]
    words += ["--host", host, "--port", str(port), "--served-model-name", base_name(values, name)]
    if modules := values.get("lora_modules"):
        words += ["--enable-lora", "--lora-paths", *(f"{m['name']}={m['path']}" for m in modules)]
    return [*words, *translated(values, "sglang")]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
