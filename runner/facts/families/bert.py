"""BERT and RoBERTa: encoders, with the head that `architectures` names or else the one for masked words."""

from __future__ import annotations

from typing import Any

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families.parts import attention, head, linear, norms, plain_mlp, stack_of, table
from runner.facts.families.sizes import Shape, Sizes, shape_of

BERT = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "tie_word_embeddings": True,
    "model_type": "bert",
}
ROBERTA = {**BERT, "vocab_size": 50265, "model_type": "roberta", "pad_token_id": 1}
# heads that make logits over the vocabulary
WORDS = ("ForMaskedLM", "ForPreTraining", "LMHeadModel", "ForCausalLM")
# which models pool the first token: BERT's classifiers of whole texts do, RoBERTa's put a dense layer in their head
POOLED = ("Model", "ForPreTraining", "ForNextSentencePrediction", "ForMultipleChoice")


def bert(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, BERT)
    kind = head_kind(sizes, "Bert")
    pooled = kind in (*POOLED, "ForSequenceClassification")
    return encoder(sizes, kind, pooled, classifier(sizes, kind), sizes.number("max_position_embeddings"))


def roberta(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, ROBERTA)
    kind = head_kind(sizes, "Roberta")
    hidden = sizes.number("hidden_size")
    top = classifier(sizes, kind)
    if kind == "ForSequenceClassification":
        top = (
            linear("dense", "head", hidden, hidden, bias=True),
            linear("out_proj", "head", labels(sizes), hidden, True),
        )
    # places are counted from the padding token's number on, so that many of the table go unused
    unused = sizes.number("pad_token_id", least=0) + 1
    return encoder(sizes, kind, kind in POOLED, top, max(1, sizes.number("max_position_embeddings") - unused))


def head_kind(sizes: Sizes, prefix: str) -> str:
    """`ForMaskedLM` of `BertForMaskedLM`: what `architectures` names first."""
    named = sizes.values.get("architectures")
    first = named[0] if isinstance(named, list) and named else None
    return first.removeprefix(prefix) if isinstance(first, str) else "ForMaskedLM"


def labels(sizes: Sizes) -> int:
    listed = sizes.inside("id2label")
    return sizes.number("num_labels", null=len(listed) if listed else 2)


def classifier(sizes: Sizes, kind: str) -> tuple[Weight, ...]:
    """The one layer on top, where it isn't a head over the vocabulary."""
    hidden = sizes.number("hidden_size")
    classes = {
        "ForPreTraining": ("seq_relationship", 2),
        "ForNextSentencePrediction": ("seq_relationship", 2),
        "ForMultipleChoice": ("classifier", 1),
        "ForSequenceClassification": ("classifier", labels(sizes)),
        "ForTokenClassification": ("classifier", labels(sizes)),
        "ForQuestionAnswering": ("qa_outputs", labels(sizes)),
    }
    if kind not in classes:
        return ()
    name, rows = classes[kind]
    return (linear(name, "head", rows, hidden, bias=True),)


def word_head(sizes: Sizes, vocab: int, hidden: int) -> tuple[Weight, ...]:
    """A dense layer, a norm, and the embeddings turned round."""
    tied = sizes.flag("tie_word_embeddings")
    # without tying, the layer's own bias and the one it would share are two
    loose = () if tied else (Weight("predictions", "head", vocab),)
    dense = linear("dense", "head", hidden, hidden, bias=True)
    return dense, *norms(hidden, "LayerNorm", bias=True), *head("decoder", vocab, hidden, tied, bias=True), *loose


def encoder(sizes: Sizes, kind: str, pooled: bool, top: tuple[Weight, ...], positions: int) -> Architecture:
    """`top` is the classifier on top, `positions` how many tokens it takes."""
    shape = shape_of(sizes)
    vocab, hidden = sizes.number("vocab_size"), shape.hidden
    words = kind in WORDS
    outer = (
        table("word_embeddings", vocab, hidden),
        table("position_embeddings", sizes.number("max_position_embeddings"), hidden, "position"),
        table("token_type_embeddings", sizes.number("type_vocab_size"), hidden),
        *norms(hidden, "LayerNorm", bias=True),
        *((linear("dense", "head", hidden, hidden, bias=True),) if pooled else ()),
        *(word_head(sizes, vocab, hidden) if words else ()),
        *top,
    )
    tied = words and sizes.flag("tie_word_embeddings")
    stacks = (encoder_stack(sizes, shape),)
    return Architecture(sizes.word("model_type"), stacks, outer, vocab if words else 0, positions, tied)


def encoder_stack(sizes: Sizes, shape: Shape) -> Stack:
    inner = sizes.number("intermediate_size")
    weights = (
        *attention(shape, "query key value dense", bias=True, out_bias=True),
        *plain_mlp(shape.hidden, inner, "dense dense"),
        *norms(shape.hidden, "LayerNorm", "LayerNorm", bias=True),
    )
    layers = sizes.number("num_hidden_layers")
    return stack_of(shape, layers, inner, weights, sizes.word("hidden_act"), name="encoder")


FAMILIES = {"bert": bert, "roberta": roberta}
