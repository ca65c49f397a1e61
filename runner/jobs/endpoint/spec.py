"""endpoint.json -> Spec: which servers, where users ask, how long things may take."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1", "": "127.0.0.1"}  # noqa: S104 - only read here


class Problem(Exception):
    """Something that a person can mend, in one line."""


@dataclass(frozen=True)
class Server:
    """A process that listens on `port`. `gpus` are numbers among those that this program may use."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    port: int
    host: str
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Spec:
    model: str
    host: str
    port: int
    key_file: str | None
    replicas: tuple[Server, ...]
    proxy: Server | None
    health: str
    probe: str
    ready_timeout_s: float
    drain_s: float

    @property
    def url(self) -> str:
        """Where users of this machine ask, without a path."""
        return f"http://{in_url(reachable(self.host))}:{self.port}"

    @property
    def servers(self) -> tuple[Server, ...]:
        return (*self.replicas, *((self.proxy,) if self.proxy else ()))


def reachable(host: str) -> str:
    """A host to connect to, for one to listen on."""
    host = host.strip("[]")
    return WILDCARDS.get(host, host)


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def read_spec(file: Path) -> Spec:
    """Raises Problem where it isn't one."""
    try:
        return from_data(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise Problem(f"can't read {file}: {error}") from None
    except (KeyError, TypeError) as error:
        raise Problem(f"{file} is no endpoint: {type(error).__name__} {error}") from None


def from_data(data: dict[str, Any]) -> Spec:
    # behind a proxy the servers are seen by this machine alone
    inside = "127.0.0.1" if data.get("proxy") else str(data["host"])
    replicas = tuple(
        Server(
            str(r["name"]),
            tuple(map(str, r["argv"])),
            {str(k): str(v) for k, v in (r.get("environment") or {}).items()},
            int(r["port"]),
            inside,
            tuple(map(int, r.get("gpus") or ())),
        )
        for r in data["replicas"]
    )
    if not replicas:
        raise Problem("an endpoint needs a server")
    proxy = data.get("proxy")
    return Spec(
        model=str(data["model"]),
        host=str(data["host"]),
        port=int(data["port"]),
        key_file=data.get("key_file"),
        replicas=replicas,
        proxy=Server("proxy", tuple(map(str, proxy["argv"])), {}, int(proxy["port"]), str(data["host"]))
        if proxy
        else None,
        health=str(data.get("health") or "/health"),
        probe=str(data.get("probe") or "completion"),
        ready_timeout_s=float(data.get("ready_timeout_s") or 1800),
        drain_s=float(data["drain_s"] if data.get("drain_s") is not None else 20),
    )
