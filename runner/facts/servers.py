"""Facts about servers other than vLLM: data/servers.yaml."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cache

from runner.facts.read import read_facts
from runner.project import shipped

VLLM = "vllm"
# of the environment: the API key of whatever is served
KEY = "RUNNER_API_KEY"
WILDCARDS = ("0.0.0.0", "::", "*")  # noqa: S104 - only compared with


@dataclass(frozen=True, slots=True)
class OtherServer:
    """`flags` are serve keys -> what the server calls them; `also` are keys that it takes in another form."""

    title: str
    docs: str
    underscores: bool
    flags: dict[str, str]
    also: frozenset[str]


@cache
def other_servers() -> dict[str, OtherServer]:
    given = read_facts(shipped("data") / "servers.yaml")
    return {
        name: OtherServer(s["title"], s["docs"], s["underscores"], s["flags"], frozenset(s.get("also", ())))
        for name, s in given.items()
    }


# an IPv4 or IPv6 address, or a name; whatever else would end up in a proxy's configuration
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}|\*")


def is_loopback(host: str) -> bool:
    """Whether only this machine's users can ask there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
