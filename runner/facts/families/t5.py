"""T5 and Flan-T5: an encoder and a decoder that looks at it, with relative positions learned in the first layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families.parts import attention, gated_mlp, head, norms, plain_mlp, stack_of, table
from runner.facts.families.sizes import Shape, Sizes

T5 = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "feed_forward_proj": "relu",
    "tie_word_embeddings": True,
}
ALIASES = {
    "hidden_size": "d_model",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
    "head_dim": "d_kv",
}


def t5(config: dict[str, Any]) -> Architecture:
    """Its encoder and decoder share one table of embeddings. The first checkpoints tie the head to it too.

    Later ones (T5 v1.1, Flan-T5) have a head of their own and say so by `tie_word_embeddings: false`. transformers 5
    ties it all the same in a model made from scratch, but not in one loaded with both, which is what counts here.
    """
    sizes = Sizes(config, T5, ALIASES)
    heads = sizes.number("num_heads")
    shape = Shape(sizes.number("d_model"), heads, heads, sizes.number("d_kv"))
    vocab, tied = sizes.number("vocab_size"), sizes.flag("tie_word_embeddings")
    layers = sizes.number("num_layers")
    places = table("relative_attention_bias", sizes.number("relative_attention_num_buckets"), heads, "position")
    return Architecture(
        model_type="t5",
        stacks=(
            stack(sizes, shape, "encoder", layers),
            stack(sizes, shape, "decoder", sizes.number("num_decoder_layers", null=layers)),
        ),
        outer=(
            table("shared", vocab, shape.hidden),
            places,  # the encoder's
            places,  # the decoder's
            *norms(shape.hidden, "final_layer_norm", "final_layer_norm"),
            *head("lm_head", vocab, shape.hidden, tied),
        ),
        vocab=vocab,
        max_positions=None,  # relative positions set no limit
        tied=tied,
    )


def stack(sizes: Sizes, shape: Shape, name: Literal["encoder", "decoder"], layers: int) -> Stack:
    """Heads together may be wider than the model; norms are RMSNorms and come before each block."""
    kind = sizes.word("feed_forward_proj")
    gated, inner = kind.startswith("gated-"), sizes.number("d_ff")
    blocks: tuple[Weight, ...] = attention(shape, "q k v o")
    if name == "decoder":
        blocks = (*blocks, *attention(shape, "q k v o"))
    mlp = (
        gated_mlp(shape.hidden, inner, "wi_0 wi_1 wo") if gated else plain_mlp(shape.hidden, inner, "wi wo", bias=False)
    )
    weights = (*blocks, *mlp, *norms(shape.hidden, *["layer_norm"] * (3 if name == "decoder" else 2)))
    activation = "gelu_new" if kind == "gated-gelu" else kind.removeprefix("gated-")
    return replace(stack_of(shape, layers, inner, weights, activation, name), gated=gated, norm="rms")


FAMILIES = {"t5": t5}
