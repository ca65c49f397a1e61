"""One module's worth of command lines: the same serve keys as each engine spells them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from runner.facts.boxes import Box

ENGINES = ("vllm", "trtllm", "sglang", "tgi")
# benchmarked beside them, and for nothing else
COMPARED = ("transformers",)


class Server(Protocol):
    """What must be known of an engine that serves: runner/engines/serving/<engine>_server.py obeys this."""

    # serve keys that the engine understands besides the runner's own; None: all of the schema
    UNDERSTOOD: frozenset[str] | None

    def argv(self, values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
        """The command that starts one replica; its first word is found on the PATH of the environment."""
        ...

    def environment(self, values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
        """Variables that it needs; never a secret."""
        ...


def server(engine: str) -> Server:
    """Raises KeyError for an engine that serves nothing."""
    if engine not in (*ENGINES, *COMPARED):
        raise KeyError(engine)
    return cast(Server, importlib.import_module(f"runner.engines.serving.{engine}_server"))


def option(key: str) -> str:
    return "--" + key.replace("_", "-")


def quiet(profile: str) -> dict[str, str]:
    """No engine may report to its maker; in smoke nothing may ask the hub."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if profile == "smoke" else {}
    return {"DO_NOT_TRACK": "1", **offline}
