"""Rules about the language model: one that can be asked, and has room for what it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.diagnostics import Diagnostic
from runner.facts.models import find_model
from runner.recipe.kinds import kind_schema, servers_in
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.rag.passages import value

_CITED = "https://arxiv.org/abs/2307.03172"
_VLLM = "https://docs.vllm.ai/en/stable/configuration/engine_args.html"
# the pipeline's own instructions, and a question of some length
INSTRUCTIONS = 400
# a passage's number, place and heading
MARKS = 24


@rule("R974", "more passages than there is room for", source=_CITED, severity="warning")
def budget(facts: Facts) -> Iterator[Diagnostic]:
    """Prompt and answer share `context_length`. What does not fit is left out, the last passages first, so that fewer
    are read than `top_k` says; where the answer's tokens fill the context alone there is no room for a question.
    """
    if not facts.has("generator"):
        return
    context, answer = value(facts, "generator.context_length"), value(facts, "generator.max_tokens")
    at = "generator.context_length" if facts.has("generator.context_length") else "generator"
    if answer + INSTRUCTIONS >= context:
        yield facts.report(
            "R974",
            "generator.max_tokens" if facts.has("generator.max_tokens") else at,
            f"an answer of {answer:,} tokens leaves no room for passages in a context of {context:,}",
            help=f"set `max_tokens: {context // 4}`, or a larger `context_length`",
        )
        return
    count, shown = value(facts, "retrieval.top_k"), _shown(facts)
    needed = INSTRUCTIONS + count * (shown + MARKS) + answer
    if needed > context:
        fits = max(1, (context - answer - INSTRUCTIONS) // (shown + MARKS))
        yield facts.report(
            "R974",
            at,
            f"{count} passages of up to {shown:,} tokens and an answer of {answer:,} come to about {needed:,} tokens, "
            f"of {context:,}",
            note="the last passages would be left out of the prompt",
            help=f"set `retrieval.top_k: {fits}`, or a larger `context_length`",
            severity="warning",
        )


def _shown(facts: Facts) -> int:
    """Tokens of a passage as the model sees it, at most."""
    size, expand = value(facts, "chunking.chunk_size"), facts.get("retrieval.expand")
    if expand == "parent":
        return int(facts.get("chunking.parent_size") or size)
    if expand == "window":
        return size * (1 + 2 * value(facts, "retrieval.window"))
    return size


@rule("R975", "a context longer than is served", source=_VLLM)
def context(facts: Facts) -> Iterator[Diagnostic]:
    """Prompts are made as long as `context_length` allows, and the server refuses those above its `max_model_len`, or
    above the positions of the model, each with an error that reaches the user.
    """
    wanted = value(facts, "generator.context_length")
    at = "generator.context_length" if facts.has("generator.context_length") else "generator"
    served = facts.get("generator.serve.max_model_len")
    if isinstance(served, int) and wanted > served:
        yield facts.report(
            "R975",
            at,
            f"prompt and answer may have {wanted:,} tokens, and the server takes {served:,}",
            help=f"set `context_length: {served}`, or `serve.max_model_len: {wanted}`",
        )
        return
    named = facts.get("generator.serve.model")
    model = find_model(str(named), facts.root or Path.cwd()) if isinstance(named, str) else None
    most = model.max_positions if model is not None else None
    if most is not None and served is None and wanted > most:
        yield facts.report(
            "R975",
            at,
            f"`{printable(str(named), 60)}` has positions for {most:,} tokens, `context_length` is {wanted:,}",
            help=f"set `context_length: {most}`",
        )


@rule("R980", "a stage that nobody carries out", source="https://arxiv.org/abs/2305.14283")
def stages(facts: Facts) -> Iterator[Diagnostic]:
    """Rewriting a question and ranking by reading are done by the language model, so there must be a `generator`; a
    reranker is a cross-encoder or the language model, one of the two.
    """
    ways = [("retrieval", facts.get("retrieval"))]
    ways += [(at, node.plain()) for at, node in facts.all("evaluation.variants.*.retrieval")]
    for at, way in ways:
        rerank = way.get("rerank") if isinstance(way, dict) else None
        if isinstance(rerank, dict) and ("model" in rerank) == ("by" in rerank):
            what = "is a model and the generator" if "model" in rerank else "is nobody"
            mend = (
                "remove `model` or `by`" if "model" in rerank else "add `model:`, a cross-encoder, or `by: generator`"
            )
            yield facts.report("R980", f"{at}.rerank", f"the reranker {what}", help=mend)
        if facts.has("generator") or "generator" in facts.refused or not isinstance(way, dict):
            continue
        for key, asked in (("rewrite", way.get("rewrite")), ("rerank.by", (rerank or {}).get("by"))):
            if asked == "generator":
                yield facts.report(
                    "R980",
                    f"{at}.{key}",
                    f"`{key}: generator` has no language model to ask",
                    help="add a `generator`, or remove it",
                )


@rule("R981", "not one model that answers", source=_VLLM)
def one_model(facts: Facts) -> Iterator[Diagnostic]:
    """The language model, and the judge, is served for the run (`serve`, with its `model`) or served already
    (`endpoint`, with the name that it has there): one of the two. A judge judges answers, so there must be some.
    """
    for path, who in (("generator", "language model"), ("evaluation.judge", "judge")):
        if not isinstance(facts.get(path), dict):
            continue
        served, endpoint = facts.get(f"{path}.serve") is not None, facts.has(f"{path}.endpoint")
        if served == endpoint:
            what = "is served for the run and asked elsewhere" if served else "is nowhere"
            mend = "remove `serve` or `endpoint`" if served else "add `serve: {model: ...}` or `endpoint:`"
            yield facts.report("R981", path, f"the {who} {what}", help=mend)
        elif not facts.has(f"{path}.model" if endpoint else f"{path}.serve.model"):
            where = path if endpoint else f"{path}.serve"
            yield facts.report("R981", where, f"the {who} has no `model`", help=f"add `model:` to `{where}`")
        elif served and facts.has(f"{path}.model"):
            yield facts.report(
                "R981",
                f"{path}.model",
                "what is served says its name itself",
                label="nothing reads it",
                help=f"move it to `{path}.serve`",
            )
    if facts.has("evaluation.attacks") and facts.lacks("generator"):
        mend = "add a `generator`, or remove `attacks`"
        yield facts.report("R981", "evaluation.attacks", "there is no language model to attack", help=mend)
    if facts.has("evaluation.judge"):
        lacking = "`generator`" if not facts.has("generator") else ""
        lacking = lacking or ("" if facts.has("evaluation.questions") else "`evaluation.questions`")
        if lacking and not facts.refused & {"generator"}:
            yield facts.report(
                "R981", "evaluation.judge", "there are no answers to judge", help=f"add {lacking}, or remove the judge"
            )


@rule("R982", "a key that no server takes", source=_VLLM)
def server_keys(facts: Facts) -> Iterator[Diagnostic]:
    """`generator.serve` and `evaluation.judge.serve` hold keys of kind `serve`, which are vLLM's engine arguments in
    snake_case. Another would be told by the server only when it starts.
    """
    known = kind_schema("serve")["properties"]
    for path in servers_in("rag"):
        node = facts.node(path)
        for key in node.value if node is not None and isinstance(node.value, dict) else ():
            if key not in known or known[key].get("deprecated"):
                close = nearest_word(key, [name for name in known if not known[name].get("deprecated")])
                yield facts.report(
                    "R982",
                    f"{path}.{key}",
                    f"unknown key `{printable(key)}` in `{path}`",
                    label=f"did you mean `{close}`?" if close else "",
                    help=f"rename it to `{close}`" if close else f"remove `{printable(key)}`",
                )
