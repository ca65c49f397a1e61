"""Rule about speculative decoding."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.models import find_model
from runner.recipe.rules import Facts, rule

_SHORT = ("spec_method", "spec_model", "spec_tokens")
# methods without a draft model of their own kind of file
_DRAFTLESS = ("ngram", "ngram_gpu", "suffix")


@rule("R908", "speculation that can't start", source="https://docs.vllm.ai/en/latest/features/spec_decode/")
def speculation(facts: Facts) -> Iterator[Diagnostic]:
    """A small model, or the prompt itself, guesses tokens that the large one then checks at once. The guesses must be
    of the same vocabulary, and vLLM must be told how many there are.
    """
    given = facts.get("speculative_config")
    short = next((key for key in _SHORT if facts.has(key)), None)
    if given is not None and short is not None:
        yield facts.report(
            "R908",
            short,
            f"`{short}` and `speculative_config` say the same thing twice",
            help=f"move it into `speculative_config` and remove `{short}`",
        )
        return
    if not isinstance(given, dict):
        return
    method, draft = given.get("method"), given.get("model")
    if "num_speculative_tokens" not in given and (draft or method in _DRAFTLESS) and method != "suffix":
        yield facts.report(
            "R908",
            "speculative_config",
            "`speculative_config` does not say how many tokens are guessed",
            help="add `num_speculative_tokens: 4`",
        )
    guess = find_model(str(draft), facts.root) if draft and method in (None, "draft_model") else None
    if guess is None or facts.model is None:
        return
    ours, theirs = facts.model.count("vocab_size"), guess.count("vocab_size")
    if ours and theirs and ours != theirs:
        yield facts.report(
            "R908",
            "speculative_config.model",
            f"`{draft}` has a vocabulary of {theirs:,} tokens, `{facts.get('model')}` one of {ours:,}",
            help="name a smaller model of the same family",
        )
