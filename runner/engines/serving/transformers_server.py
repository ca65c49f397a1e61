"""transformers' own server, for comparison: `transformers serve` with its model list mended (jobs/bench)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import option, quiet
from runner.facts.boxes import Box

# serve keys that it takes; `tensor_parallel_size` is over how many GPUs it may lay the layers, one after the other
KEYS = ("dtype", "trust_remote_code")


def argv(values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
    words = ["python", "-m", "bench.transformers_serve", str(values["model"]), "--host", host, "--port", str(port)]
    words += ["--device", "auto" if box.gpus else "cpu"]
    for key, value in {**{k: values.get(k) for k in KEYS}, **(values.get("engine_args") or {})}.items():
        if value is not None and value is not False:
            words += [option(key)] if value is True else [option(key), str(value)]
    return words


def environment(values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
    return quiet(profile)
