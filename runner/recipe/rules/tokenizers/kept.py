"""Rules about what a comparison of tokenizers leaves."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.transformers.sources import one_source


@rule("R730", "a tokenizer to keep that is not trained", source="https://huggingface.co/docs/tokenizers/")
def kept(facts: Facts) -> Iterator[Diagnostic]:
    """`keep` names the tokenizer that other recipes get as `${needs.x.tokenizer}`: one of the algorithms, at one of
    the sizes, joined by a hyphen.
    """
    wanted = facts.get("keep")
    made = [f"{name}-{size}" for name in facts.get("algorithms", []) for size in facts.get("vocab_sizes", [])]
    if wanted is not None and made and wanted not in made:
        close = nearest_word(wanted, made) or made[-1]
        yield facts.report(
            "R730",
            "keep",
            f"`{wanted}` is not among the tokenizers that are trained",
            note="trained: " + ", ".join(f"`{name}`" for name in made),
            help=f"set `keep: {close}`",
        )


@rule("R731", "a text that is loaded and made, or neither", source="https://huggingface.co/docs/datasets/loading")
def sources(facts: Facts) -> Iterator[Diagnostic]:
    """Each item of `datasets` and `test_datasets` is either loaded by its `path` or made by `generate`."""
    yield from one_source(facts, "R731", ("datasets", "test_datasets"))
