"""Facts about servers other than vLLM: data/servers.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from runner.facts.read import read_facts
from runner.project import shipped

VLLM = "vllm"


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
