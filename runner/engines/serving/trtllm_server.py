"""TensorRT-LLM: `trtllm-serve`, by NVIDIA's own names for the same things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import quiet, translated
from runner.facts.boxes import Box


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["trtllm-serve", str(values["model"]), "--host", host, "--port", str(port)]
    return [*words, *translated(values, "trtllm")]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
