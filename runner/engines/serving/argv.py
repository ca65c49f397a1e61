"""What the servers have in common: the Protocol that their modules obey, and words of command lines."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from runner.facts.boxes import Box
from runner.facts.servers import VLLM, other_servers
from runner.recipe.resolve import served_name

# seconds that requests under way have when an endpoint is stopped
DRAIN_S = 20


class Server(Protocol):
    """What must be known of an engine that serves: runner/engines/serving/<engine>_server.py obeys this."""

    def argv(self, values: Mapping[str, Any], name: str, host: str, port: int, box: Box) -> list[str]:
        """The command that starts one replica; its first word is found on the PATH of the environment."""
        ...

    def environment(self, values: Mapping[str, Any], box: Box, profile: str) -> dict[str, str]:
        """Variables that it needs; never a secret."""
        ...


def server(engine: str) -> Server:
    """Raises KeyError for an engine that serves nothing."""
    if engine != VLLM and engine not in other_servers():
        raise KeyError(engine)
    return cast(Server, importlib.import_module(f"runner.engines.serving.{engine}_server"))


def base_name(values: Mapping[str, Any], name: str) -> str:
    """What the model itself is called; beside an adapter that has taken the name, `NAME-base`."""
    called = served_name(values, name)
    taken = any(module["name"] == called for module in values.get("lora_modules") or ())
    return f"{called}-base" if taken else called


def option(key: str) -> str:
    return "--" + key.replace("_", "-")


def translated(values: Mapping[str, Any], engine: str) -> list[str]:
    """Serve keys in another server's words, then whatever `engine_args` adds in its own. A flag of true stands alone;
    false and null are left out."""
    server = other_servers()[engine]
    words = [word for key, flag in server.flags.items() for word in _flag(flag, values.get(key))]
    for key, value in (values.get("engine_args") or {}).items():
        words += _flag(f"--{key}" if server.underscores else option(key), value)
    return words


def _flag(flag: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    return [flag, *map(str, value)] if isinstance(value, list) else [flag, str(value)]


def quiet(profile: str) -> dict[str, str]:
    """No engine may report to its maker; in smoke nothing may ask the hub."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if profile == "smoke" else {}
    return {"DO_NOT_TRACK": "1", **offline}
