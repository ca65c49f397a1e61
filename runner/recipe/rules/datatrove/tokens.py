"""Rules about the tokenizer that the data are made into tokens with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

KIND = "prepare"
BYTES = 256
# unknown, begin, end, padding
SPECIALS = 4


@rule("R602", "not exactly one tokenizer", source="https://huggingface.co/docs/tokenizers/pipeline")
def one_tokenizer(facts: Facts) -> Iterator[Diagnostic]:
    """The tokens come from an existing tokenizer (`tokenizer`) or from one that is trained on the data (`vocab_size`).
    With both it is not clear which was meant; with neither there is nothing to make tokens with. `special_tokens` are
    those of a trained one: an existing one has its own.
    """
    if facts.kind != KIND:
        return
    named, trained = facts.has("tokenizer"), facts.has("vocab_size")
    if named and trained:
        yield facts.report(
            "R602",
            "vocab_size",
            "`vocab_size` trains a tokenizer, and `tokenizer` names one",
            label="given twice",
            help="remove `vocab_size` to take the one that is named, or `tokenizer` to train one",
        )
    elif not named and facts.lacks("vocab_size") and facts.lacks("tokenizer"):
        yield facts.report(
            "R602",
            "source",
            "the recipe names no tokenizer, and trains none",
            help="add `tokenizer: openai-community/gpt2`, or `vocab_size: 8192` to train one on the data",
        )
    for key in ("special_tokens", "tokenizer_sample_mib") if named and not trained else ():
        if facts.has(key):
            yield facts.report(
                "R602",
                key,
                f"`{key}` is for a tokenizer that is trained, and `tokenizer` names one",
                label="an existing tokenizer has its own" if key == "special_tokens" else "nothing is trained",
                help=f"remove `{key}`",
            )


@rule("R603", "a vocabulary that can't be", source="https://huggingface.co/docs/tokenizers/api/trainers")
def vocabulary(facts: Facts) -> Iterator[Diagnostic]:
    """A byte-level BPE begins with the 256 bytes and its special tokens; a smaller vocabulary could not write every
    text, and the `tokenizers` library then makes a larger one than it was asked for. A special token given twice has
    one id. `eos_token` of a trained tokenizer is one of its special tokens.
    """
    tokens = [str(t) for t in facts.get("special_tokens", [])]
    size = facts.get("vocab_size")
    least = BYTES + (len(tokens) or SPECIALS)
    if isinstance(size, int) and size < least:
        yield facts.report(
            "R603",
            "vocab_size",
            f"a vocabulary of {size} is too small for bytes and special tokens",
            label=f"{BYTES} bytes and {len(tokens) or SPECIALS} special tokens",
            help=f"set `vocab_size: {least}` or more",
        )
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    if twice:
        yield facts.report(
            "R603",
            "special_tokens",
            f"the special token `{printable(twice[0])}` is given twice",
            help="give each once, in the order of their ids",
        )
    eos = facts.get("eos_token")
    if tokens and not facts.has("tokenizer") and eos is not None and eos not in tokens:
        yield facts.report(
            "R603",
            "eos_token",
            f"`{printable(str(eos))}` is not among the special tokens of the tokenizer that is trained",
            help="add it to `special_tokens`, or remove `eos_token`: the third of them is the end token",
        )
