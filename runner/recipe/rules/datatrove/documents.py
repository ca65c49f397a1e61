"""Rules about which documents are kept."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

# key -> the one without which nothing reads it
_BELONGS = {"decontaminate_n_grams": "decontaminate", "language_threshold": "languages"}


@rule(
    "R608",
    "lengths that no document has",
    source="https://github.com/huggingface/datatrove/tree/main/src/datatrove/pipeline/filters",
)
def no_such_length(facts: Facts) -> Iterator[Diagnostic]:
    """Documents with fewer characters than `min_doc_chars` or more than `max_doc_chars` are removed; `document_chars`
    cuts texts into documents of at most so many. Where these leave no length, every document is removed; Gopher's
    bounds in words are met in the same way.
    """
    least, most, cut = (facts.get(key) for key in ("min_doc_chars", "max_doc_chars", "document_chars"))
    if least and most and least > most:
        yield _none(facts, "min_doc_chars", f"more than {most} characters are too many, fewer than {least} too few")
    elif least and cut and least > cut:
        yield _none(
            facts, "min_doc_chars", f"no document has more than {cut} characters, and fewer than {least} are too few"
        )
    few, many = facts.get("gopher_quality.min_doc_words", 50), facts.get("gopher_quality.max_doc_words", 100_000)
    if isinstance(facts.get("gopher_quality"), dict) and few and many and few > many:
        yield _none(facts, "gopher_quality", f"more than {many} words are too many, fewer than {few} too few")


def _none(facts: Facts, key: str, why: str) -> Diagnostic:
    return facts.report("R608", key, "no document can be of these lengths", label=why, help="mend one of the bounds")


@rule(
    "R610",
    "a key that nothing reads",
    source="https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/decont/n_grams.py",
    severity="warning",
)
def unread(facts: Facts) -> Iterator[Diagnostic]:
    """Some keys only say how another's work is done: how long a match with an evaluation set must be, how sure the
    language filter. Without that other key nothing is decontaminated or filtered, whatever they say.
    """
    for key, owner in _BELONGS.items():
        if facts.has(key) and facts.lacks(owner):
            yield facts.report(
                "R610",
                key,
                f"`{key}` does nothing without `{owner}`",
                label="nothing reads it",
                help=f"add `{owner}`, or remove `{key}`",
                severity="warning",
            )
