"""Rules about what is trained on."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

# questions that are made, with their answers
ANSWERED = ("open-book", "closed-book")
_LISTS = ("datasets", "test_datasets", "finetune.datasets", "finetune.test_datasets")
_DOCS = "https://huggingface.co/docs/transformers/main_classes/trainer"


def answers(facts: Facts) -> bool:
    return bool(facts.get("objective") == "text-to-text")


@rule("R701", "no data, or data twice", source=_DOCS)
def one_input(facts: Facts) -> Iterator[Diagnostic]:
    """Text comes either as `prepared` shards, which a recipe of kind `prepare` leaves, or as `datasets`, which the run
    tokenizes itself. Answers to texts are never shards: `objective: text-to-text` takes `datasets`.
    """
    if facts.has("prepared") and answers(facts):
        yield facts.report(
            "R701",
            "prepared",
            "`objective: text-to-text` does not train on shards",
            note="shards are text end to end, without answers",
            help="give `datasets` with texts and answers, or set `objective: span-corruption`",
        )
    elif facts.has("prepared") and facts.has("datasets"):
        yield facts.report(
            "R701", "datasets", "`prepared` and `datasets` are both given", help="keep the one to train on"
        )
    elif facts.lacks("prepared") and facts.lacks("datasets"):
        yield facts.report("R701", "", "the recipe names no data", help="add `prepared: ${needs.data.dataset}`")


def with_answers(row: object) -> bool:
    return isinstance(row, dict) and ("target_field" in row or row.get("generate") in ANSWERED)


def in_two_parts(facts: Facts) -> bool:
    """Whether a causal language model learns the second of two parts (jobs/trainer/continued.py)."""
    answered = any(with_answers(node.plain()) for _, node in facts.all("datasets.*"))
    return facts.kind == "causal-lm" and (answered or facts.has("context"))


@rule("R702", "text without a tokenizer", source="https://huggingface.co/docs/transformers/main_classes/tokenizer")
def tokenizer(facts: Facts) -> Iterator[Diagnostic]:
    """Text has to be cut into tokens before a model can read it. Only `objective: text-to-text`, kind `flamingo` and a
    `causal-lm` of rows in two parts (`target_field`, questions that are made, `context`) train a tokenizer of their own
    where none is named, on their texts, answers and captions.
    """
    needed = facts.kind not in ("seq2seq", "flamingo") and facts.has("datasets") and not in_two_parts(facts)
    needed = needed or facts.get("objective") == "span-corruption"
    if needed and facts.lacks("tokenizer_config"):
        yield facts.report(
            "R702",
            "datasets" if facts.has("datasets") else "objective",
            "the recipe names no tokenizer",
            help="add `tokenizer_config:` with a tokenizer of the hub or `${needs.data.tokenizer}`",
        )


@rule("R703", "a dataset that is loaded and made, or neither", source="https://huggingface.co/docs/datasets/loading")
def sources(facts: Facts) -> Iterator[Diagnostic]:
    """Each item of a list of datasets is either loaded by its `path` or made on the spot by `generate`."""
    yield from one_source(facts, "R703", _LISTS)


def one_source(facts: Facts, code: str, lists: tuple[str, ...]) -> Iterator[Diagnostic]:
    for key in lists:
        for at, node in facts.all(f"{key}.*"):
            given = node.plain()
            if not isinstance(given, dict):
                continue
            if "path" in given and "generate" in given:
                yield facts.report(
                    code, f"{at}.generate", "a dataset has `path` and `generate`", help="keep the one that is meant"
                )
            elif "path" not in given and "generate" not in given:
                yield facts.report(code, at, "a dataset has neither `path` nor `generate`", help="add `path:`")


@rule("R704", "settings of another objective", source="https://arxiv.org/abs/1910.10683")
def other_objective(facts: Facts) -> Iterator[Diagnostic]:
    """`noise_density` and `mean_noise_span_length` say which spans are left out of a text, and mean nothing where
    answers are learned; `generation` says how answers are made, and spans are not answered.
    """
    unread = {
        "text-to-text": ("noise_density", "mean_noise_span_length"),
        "span-corruption": ("generation",),
    }.get(str(facts.get("objective")), ())
    for key in unread:
        if facts.has(key):
            yield facts.report(
                "R704",
                key,
                f"`{key}` is not read with `objective: {facts.get('objective')}`",
                help=f"remove `{key}`",
            )
