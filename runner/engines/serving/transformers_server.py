"""transformers' own server, for comparison: `transformers serve` with the model list mended (jobs/bench)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import quiet
from runner.engines.serving.translate import translated
from runner.facts.boxes import Box

FLAGS = {"dtype": "--dtype", "trust_remote_code": "--trust-remote-code"}
# `tensor_parallel_size` is how many GPUs it may lay the layers over, one after the other
UNDERSTOOD = frozenset({*FLAGS, "tensor_parallel_size"})


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["python", "-m", "bench.transformers_serve", str(values["model"]), "--host", host, "--port", str(port)]
    return [*words, "--device", "auto" if box.gpus else "cpu", *translated(values, FLAGS)]


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
