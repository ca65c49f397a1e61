"""Entries of `endpoints`: what each serves, by which keys, under which name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from runner.diagnostics import Diagnostic
from runner.facts.models import find_model
from runner.recipe.document import Node
from runner.recipe.kinds import header_keys, kind_names, kind_schema
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule, rules_for

BENCH = "https://docs.vllm.ai/en/stable/cli/bench/serve/"
SERVE = "https://docs.vllm.ai/en/stable/cli/serve/"
# an entry's own keys, which no server sees
OWN = ("name", "engine", "url", "tokenizer")
# what `transformers serve` takes of kind `serve`
TRANSFORMERS = frozenset(
    {
        "model", "dtype", "trust_remote_code", "tensor_parallel_size", "engine_args", "host", "port", "ready_timeout_s",
        "drain_s",
    }
)  # fmt: skip


def entries(facts: Facts) -> Iterator[tuple[str, Node, dict[str, Any]]]:
    """Path, node and plain value of each."""
    for path, node in facts.all("endpoints.*"):
        plain = node.plain()
        if isinstance(plain, dict):
            yield path, node, plain


@rule("R960", "an endpoint with nothing to serve", source=BENCH)
def nothing_to_serve(facts: Facts) -> Iterator[Diagnostic]:
    """An endpoint is a server that the run starts, for which it needs `model`, or one that runs already at `url`, for
    which it needs to know what the endpoint calls the model, and where its tokenizer is."""
    for path, _, entry in entries(facts):
        if not entry.get("model"):
            yield facts.report(
                "R960",
                path,
                f"endpoint `{entry.get('name')}` names no `model`",
                note="with `url` it is the name by which the endpoint serves it" if "url" in entry else "",
                help="give `model`",
            )
        elif "url" in entry and not entry.get("tokenizer") and find_model(str(entry["model"]), facts.root) is None:
            yield facts.report(
                "R960",
                f"{path}.url",
                f"prompts for endpoint `{entry.get('name')}` can't be counted in tokens",
                note=f"`{printable(str(entry['model']))}` is a name on that endpoint, not a model that is known",
                help="give `tokenizer`: a model of the hub or a folder",
            )


@rule("R961", "two endpoints of one name", source=BENCH)
def two_of_one_name(facts: Facts) -> Iterator[Diagnostic]:
    """Results of a cell are kept by the endpoint's name, and tables and plots tell endpoints apart by it."""
    seen: set[str] = set()
    for path, _, entry in entries(facts):
        name = str(entry.get("name"))
        if name in seen:
            yield facts.report(
                "R961",
                f"{path}.name",
                f"a second endpoint is called `{printable(name)}`",
                help="give each a name of its own",
            )
        seen.add(name)


@rule("R962", "a key that the endpoint's server has not", source=SERVE)
def unknown_keys(facts: Facts) -> Iterator[Diagnostic]:
    """Besides name, engine and address an endpoint has the keys of kind `serve`, and the rules of that kind hold for
    it. `transformers serve` takes few of them; an endpoint that runs already takes none."""
    for path, node, entry in entries(facts):
        wrong = list(_wrong_keys(facts, path, entry))
        yield from wrong
        if not wrong and "url" not in entry and entry.get("engine") != "transformers":
            yield from _as_serve(facts, node, entry)


def _wrong_keys(facts: Facts, path: str, entry: dict[str, Any]) -> Iterator[Diagnostic]:
    known = _known(entry)
    for key, value in entry.items():
        if key in OWN or (key == "model" and "url" in entry):
            continue
        if key not in known:
            close = nearest_word(key, [*known, *OWN])
            yield facts.report(
                "R962",
                f"{path}.{key}",
                f"endpoint `{entry.get('name')}` takes no `{printable(key)}`",
                label=f"did you mean `{close}`?" if close else "",
                note="" if close else _about(entry),
                help=f"rename it to `{close}`" if close else "remove it",
            )
        elif why := _unfitting(known[key], value):
            yield facts.report(
                "R962", f"{path}.{key}", f"`{key}` of endpoint `{entry.get('name')}`: {why}", help=_form(known[key])
            )


def _about(entry: dict[str, Any]) -> str:
    if "url" in entry:
        return "an endpoint that runs already is taken as it is"
    return "it has the keys of kind `serve`" if entry.get("engine") != "transformers" else f"it takes {_listed()}"


def _listed() -> str:
    return ", ".join(f"`{key}`" for key in sorted(TRANSFORMERS))


def _known(entry: dict[str, Any]) -> dict[str, Any]:
    if "url" in entry:
        return {}
    known = _serve_keys()
    return {k: v for k, v in known.items() if k in TRANSFORMERS} if entry.get("engine") == "transformers" else known


@cache
def _serve_keys() -> dict[str, Any]:
    given: dict[str, Any] = kind_schema("serve")["properties"] if "serve" in kind_names() else {}
    return {key: value for key, value in given.items() if key not in header_keys() and key != "layout"}


def _unfitting(schema: dict[str, Any], value: Any) -> str:
    from jsonschema import Draft202012Validator

    error = next(Draft202012Validator(schema).iter_errors(value), None)
    return printable(error.message, 160) if error is not None else ""


def _form(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{v}`" for v in schema["enum"] if v is not None)
    types = schema.get("type", "object")
    return f"give it as {' or '.join(t for t in ([types] if isinstance(types, str) else types) if t != 'null')}"


def _as_serve(facts: Facts, node: Node, entry: dict[str, Any]) -> Iterator[Diagnostic]:
    """What the rules of kind `serve` say of the entry, as if it were a recipe."""
    assert isinstance(node.value, dict)
    keys = {key: below for key, below in node.value.items() if key not in ("name", "tokenizer")}
    keys |= {key: below for key, below in facts.doc.keys.items() if key == "allow"}  # which stands in the header
    doc = replace(facts.doc, root=replace(node, value=keys))
    model = find_model(str(entry.get("model", "")), facts.root)
    alone = Facts(doc, "serve", facts.box, model, root=facts.root)
    for each in rules_for("vllm"):
        yield from each.check(alone)
