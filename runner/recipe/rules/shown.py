"""Rules about passages that a model is shown, to read them or to learn behind them."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.transformers.sources import with_answers

_RALM = "https://arxiv.org/abs/2302.00083"
CHUNK = 64  # what schemas/causal-lm.schema.json says when unset
PER_ROW = 4  # a passage of two chunks, the chunk before, and the one that is learned


@rule("R989", "passages that can't be shown", source=_RALM)
def shown(facts: Facts) -> Iterator[Diagnostic]:
    """`evaluation.reading` has the `generator` answer in few words with more and fewer passages, and compares that with
    answers that the questions' metadata hold: those of `register` do, those of `stdlib` don't. `context` has a causal
    language model learn each chunk of text behind a passage, for which it needs the text itself, and rows of four
    chunks: a passage of two, the chunk before, and the one that is learned.
    """
    if facts.has("evaluation.reading"):
        yield from _reading(facts)
    if facts.kind == "causal-lm" and facts.has("context"):
        yield from _context(facts)


def _reading(facts: Facts) -> Iterator[Diagnostic]:
    if facts.lacks("generator"):
        yield facts.report(
            "R989", "evaluation.reading", "there is no model that reads", help="add a `generator`, or remove `reading`"
        )
    questions = facts.get("evaluation.questions")
    if questions is None:
        yield facts.report(
            "R989", "evaluation.reading", "there are no questions to read for", help="add `questions: register`"
        )
    elif str(questions).partition(":")[0] == "stdlib":
        yield facts.report(
            "R989",
            "evaluation.questions",
            "questions made from docstrings have no short answers",
            note="an answer in few words is compared with `answers` in a question's metadata",
            help="set `questions: register`, or a BEIR folder whose queries.jsonl has them, or remove `reading`",
        )


def _context(facts: Facts) -> Iterator[Diagnostic]:
    if facts.has("prepared"):
        yield facts.report(
            "R989",
            "prepared",
            "passages are looked for in text, and shards have none",
            note="a passage comes of another document, found by the words of the chunk before",
            help="give `datasets` instead, or remove `context`",
        )
    if any(with_answers(node.plain()) for _, node in facts.all("datasets.*")):
        yield facts.report(
            "R989",
            "context",
            "rows with answers are not cut into chunks",
            help="remove `context`, or the datasets with answers",
        )
    size, longest = facts.get("context.chunk_size", CHUNK), facts.get("sequence_len")
    if longest is not None and PER_ROW * size > longest:
        yield facts.report(
            "R989",
            "context.chunk_size" if facts.has("context.chunk_size") else "context",
            f"a row has four chunks, {PER_ROW * size:,} tokens, and `sequence_len` is {longest:,}",
            help=f"set `chunk_size: {max(4, longest // PER_ROW)}`, or `sequence_len: {PER_ROW * size}`",
        )
