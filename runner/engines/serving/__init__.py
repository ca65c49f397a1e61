"""Serve keys -> endpoint.json: which servers start with which arguments, and where users ask.

Kinds that serve, or ask what they serve, share it. `python -m endpoint endpoint.json` (runner/jobs/endpoint) reads it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from runner.engines.serving.argv import DRAIN_S, Server, server
from runner.facts.boxes import Box
from runner.facts.servers import is_loopback
from runner.recipe.resolve import served_name

HOST, PORT = "127.0.0.1", 8000
# of servers that a run starts for itself
OWN_PORTS = range(20000, 32000)
READY_TIMEOUT_S = 1800
PROXY = ("haproxy", "-W", "-db", "-f", "haproxy.cfg")

__all__ = ["HOST", "PORT", "Server", "endpoint_spec", "gpus_of_replica", "own_port", "server"]


def own_port(recipe: str, profile: str, part: str) -> int:
    """For a server that a run starts for itself: one that no other recipe's has, most likely, and the same each time,
    since rendered files are to be equal. `part` tells the servers of one recipe apart."""
    return OWN_PORTS[zlib.crc32(f"{recipe} {profile} {part}".encode()) % len(OWN_PORTS)]


def endpoint_spec(
    values: Mapping[str, Any], *, engine: str, box: Box, profile: str, name: str, first_port: int | None = None
) -> dict[str, Any]:
    """What `endpoint.json` holds for a model that is served as `values` (keys of kind `serve`) say.

    `name` is what users call the model where `served_model_name` says nothing else. Where `tensor_parallel_size` or
    `replicas` is not given it is 1: choosing them is the plan's (runner/plan/serving). Servers listen on `first_port`
    and those after it, on loopback; behind no proxy the only one listens where users ask.
    """
    made = server(engine)
    host, port = str(values.get("host") or HOST), int(values.get("port") or PORT)
    count = int(values.get("replicas") or 1)
    proxied = count > 1 or not is_loopback(host) or values.get("api_key_file") is not None
    first = (port + 1 if first_port is None else first_port) if proxied else port
    replicas = []
    for i in range(count):
        at = HOST if proxied else host
        gpus = gpus_of_replica(values, box, i)
        replicas.append(
            {
                "name": f"replica-{i}",
                "argv": made.argv(values, name, at, first + i, box),
                "environment": made.environment(values, box, profile) | _visible(gpus),
                "port": first + i,
                "gpus": gpus,
            }
        )
    return {
        "model": served_name(values, name),
        "host": host,
        "port": port,
        "key_file": values.get("api_key_file"),
        "replicas": replicas,
        "proxy": {"argv": list(PROXY), "port": port} if proxied else None,
        "health": "/health",
        "probe": "completion",
        "ready_timeout_s": int(values.get("ready_timeout_s") or READY_TIMEOUT_S),
        "drain_s": int(values.get("drain_s") or DRAIN_S),
    }


def gpus_of_replica(values: Mapping[str, Any], box: Box, index: int) -> list[int]:
    """The GPUs of the `index`th replica, by number; none on a box without GPUs."""
    if not box.gpus:
        return []
    each = int(values.get("tensor_parallel_size") or 1) * int(values.get("pipeline_parallel_size") or 1)
    each *= int(values.get("data_parallel_size") or 1)
    return list(range(index * each, (index + 1) * each))


def _visible(gpus: list[int]) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
