"""Rule about servers that a run starts for itself: their keys are those of kind `serve`, below `serve:`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.document import walk
from runner.recipe.kinds import header_keys, kind_names, kind_schema
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule


@cache
def _serve_keys() -> dict[str, Any]:
    given: dict[str, Any] = kind_schema("serve")["properties"] if "serve" in kind_names() else {}
    return {key: schema for key, schema in given.items() if key not in header_keys()}


@rule("R845", "a server's key with a value of another kind", source="https://docs.vllm.ai/en/latest/cli/serve/")
def server_values(facts: Facts) -> Iterator[Diagnostic]:
    """A model that is served for an evaluation, a judge or a RAG system is described by keys of kind `serve`. Their
    values are checked as they are there: the server would refuse them only once the run has come to it.
    """
    from jsonschema import Draft202012Validator

    for path, node in walk(facts.doc.root):
        if not path or path[-1] != "serve" or not isinstance(node.value, dict):
            continue
        for key, below in node.value.items():
            wrong = next(Draft202012Validator(_serve_keys().get(key, True)).iter_errors(below.plain()), None)
            if wrong is not None:
                at = ".".join(map(str, (*path, key)))
                yield facts.report(
                    "R845",
                    at,
                    f"`{printable(key, 40)}`: {printable(wrong.message, 120)}",
                    help=f"write `{printable(key, 40)}` as a recipe of kind `serve` has it",
                )
