"""Rules about servers that a run starts for itself: their keys are those of kind `serve`, below `serve:`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.document import Node, walk
from runner.recipe.kinds import header_keys, kind_names, kind_schema
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

PARALLEL = "https://docs.vllm.ai/en/latest/serving/parallelism_scaling/"
# how many GPUs a replica has is their product
SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


@cache
def _serve_keys() -> dict[str, Any]:
    given: dict[str, Any] = kind_schema("serve")["properties"] if "serve" in kind_names() else {}
    return {key: schema for key, schema in given.items() if key not in header_keys()}


def own_servers(facts: Facts) -> Iterator[tuple[str, dict[str, Node]]]:
    """Each server that the run starts for itself: its dotted path, and its keys."""
    for path, node in walk(facts.doc.root):
        if path and path[-1] == "serve" and isinstance(node.value, dict):
            yield ".".join(map(str, path)), node.value


@rule("R845", "a server's key with a value of another kind", source="https://docs.vllm.ai/en/latest/cli/serve/")
def server_values(facts: Facts) -> Iterator[Diagnostic]:
    """A model that is served for an evaluation, a judge or a RAG system is described by keys of kind `serve`. Their
    values are checked as they are there: the server would refuse them only once the run has come to it.
    """
    from jsonschema import Draft202012Validator

    for at, given in own_servers(facts):
        for key, below in given.items():
            wrong = next(Draft202012Validator(_serve_keys().get(key, True)).iter_errors(below.plain()), None)
            if wrong is not None:
                yield facts.report(
                    "R845",
                    f"{at}.{key}",
                    f"`{printable(key, 40)}`: {printable(wrong.message, 120)}",
                    help=f"write `{printable(key, 40)}` as a recipe of kind `serve` has it",
                )


@rule("R875", "a run's own server wants more GPUs than the box has", source=PARALLEL)
def server_gpus(facts: Facts) -> Iterator[Diagnostic]:
    """A server that an evaluation, a judge or a RAG system starts has GPUs of its own as one of kind `serve` has:
    tensor parallel times pipeline stages times engines inside it, for each replica. Those of one run start one after
    the other, so each may have them all.
    """
    for at, _ in own_servers(facts):
        if told := beyond_the_box(facts, f"{at}."):
            yield facts.report("R875", f"{at}.{told.key}", told.what, help=told.help)


@dataclass(frozen=True)
class Beyond:
    """What to say of a server that takes more GPUs than there are."""

    key: str
    what: str
    help: str


def beyond_the_box(facts: Facts, before: str = "") -> Beyond | None:
    """Is what the keys that start with `before` describe more than the GPUs of the box's node?"""

    def size(key: str) -> int:
        found = facts.get(before + key, 1)
        return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 1

    has = facts.box.gpus
    each, replicas = prod(map(size, SIZES)), size("replicas")
    if not has or each * replicas <= has:
        return None
    largest, room = max(SIZES, key=size), has // each
    key = "replicas" if room and replicas > 1 else largest
    what = f"{replicas} replicas on {each} GPUs each" if replicas > 1 else f"a replica on {each} GPUs"
    node = " on a node" if facts.box.nodes > 1 else ""
    help = f"set `replicas: {room}`" if key == "replicas" else f"make `{largest}` smaller, or name a larger `box`"
    return Beyond(key, f"{what} won't go on the {has} of `{facts.box.name}`{node}", help)
