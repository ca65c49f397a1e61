"""Rule about the class that a model is loaded as, against what its config says it is."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

_HEAD = "For"
_AUTO = "Auto"
# heads that say no words: of a checkpoint that was trained to classify, to tag, to answer by spans, to embed
_WORDLESS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")
_MAKES_TEXT = ("finetune", "moe", "dpo", "rlhf", "pretrain")


@rule(
    "R861",
    "a model of another class",
    source="https://huggingface.co/docs/transformers/model_doc/auto#transformers.AutoModelForCausalLM",
)
def model_class(facts: Facts) -> Iterator[Diagnostic]:
    """A model's config.json says which class it was saved from. Loaded by `model_type` as a class of another family,
    transformers warns in one line, leaves weights at random whose names differ, and goes on. Finetuning to write text
    takes a decoder: T5 and its like are refused when they are loaded, BERT and its like are loaded and attend both
    ways, so that they see what they are to tell. A checkpoint of a classifier has no head that writes words, and begins
    with a random one.
    """
    model = facts.model
    if model is None or facts.has("architecture") or "base_model" not in facts.doc.keys:
        return
    saved = model.config.get("architectures")
    saved_as = str(saved[0]) if isinstance(saved, list) and saved else ""
    given = facts.get("model_type")
    if isinstance(given, str) and _family(given) and _family(saved_as) and _family(given) != _family(saved_as):
        yield facts.report(
            "R861",
            "model_type",
            f"the model is a `{printable(saved_as, 60)}`, not a `{printable(given, 60)}`",
            label="weights whose names differ would be left random",
            help="remove `model_type`: Axolotl takes the class that the config names",
        )
        return
    if facts.kind not in _MAKES_TEXT or facts.has("reward_model"):
        return
    wrong = _no_writer(facts, saved_as)
    if wrong:
        yield facts.report(
            "R861",
            "base_model",
            f"`{printable(str(facts.get('base_model')), 60)}` {wrong[0]}",
            label=wrong[1],
            help="name a model that is a decoder alone, or use kind `masked-lm` or `seq2seq`"
            if "encoder" in wrong[0]
            else "name the model that it was made from",
        )


def _family(name: str) -> str:
    """`Llama` of `LlamaForCausalLM`; empty where it is no class of one family."""
    head, found, _ = name.partition(_HEAD)
    return head if found and not name.startswith(_AUTO) else ""


def _no_writer(facts: Facts, saved_as: str) -> tuple[str, str] | None:
    assert facts.model is not None
    if saved_as.endswith(_WORDLESS):
        return "is a classifier", f"saved as `{printable(saved_as, 60)}`, it has no head that writes words"
    try:
        stacks = {stack.name for stack in facts.model.architecture.stacks}
    except (ValueError, LookupError):
        return None
    if "encoder" not in stacks:
        return None
    if "decoder" in stacks:
        return "has an encoder beside its decoder", "it is not loaded as a causal language model"
    return "is an encoder", "each of its words sees those that come after it"
