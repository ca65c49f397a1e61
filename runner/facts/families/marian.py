"""Marian: the Transformer of Vaswani et al. 2017, with sinusoids and with norms after each block."""

from __future__ import annotations

from typing import Any, Literal

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families.parts import attention, head, norms, plain_mlp, stack_of, table
from runner.facts.families.sizes import Shape, Sizes

MARIAN = {
    "vocab_size": 58101,
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "max_position_embeddings": 1024,
    "activation_function": "gelu",
    "tie_word_embeddings": True,
    "share_encoder_decoder_embeddings": True,
}


def marian(config: dict[str, Any]) -> Architecture:
    """One table for both sides and the head, or with `share_encoder_decoder_embeddings: false` one for each side, the
    decoder's tied to the head. The sinusoids are tables too, though they are never trained; the head's bias is none of
    the parameters."""
    sizes = Sizes(config, MARIAN)
    vocab, hidden, tied = sizes.number("vocab_size"), sizes.number("d_model"), sizes.flag("tie_word_embeddings")
    places = sizes.number("max_position_embeddings")
    shared = sizes.flag("share_encoder_decoder_embeddings")
    own = sizes.number("decoder_vocab_size", null=vocab)
    outer = (
        table("shared", vocab, hidden),
        *(() if shared else (table("embed_tokens", own, hidden),)),
        # untied, both sides keep their own beside the shared one, which nothing reads
        *(() if tied else (table("embed_tokens", vocab, hidden), table("embed_tokens", own, hidden))),
        table("embed_positions", places, hidden, "position"),  # the encoder's
        table("embed_positions", places, hidden, "position"),  # the decoder's
        *head("lm_head", own, hidden, tied),
    )
    stacks = (stack(sizes, "encoder"), stack(sizes, "decoder"))
    return Architecture("marian", stacks, outer, own, places, tied)


def stack(sizes: Sizes, name: Literal["encoder", "decoder"]) -> Stack:
    hidden, heads = sizes.number("d_model"), sizes.number(f"{name}_attention_heads")
    if hidden % heads:
        raise ValueError(f"`d_model` {hidden} is no multiple of {heads} heads")
    shape, inner = Shape(hidden, heads, heads, hidden // heads), sizes.number(f"{name}_ffn_dim")
    across = attention(shape, "q_proj k_proj v_proj out_proj", bias=True, out_bias=True)
    weights: tuple[Weight, ...] = (
        *across,
        *(across if name == "decoder" else ()),
        *plain_mlp(hidden, inner, "fc1 fc2"),
        *norms(hidden, *["layer_norm"] * (3 if name == "decoder" else 2), bias=True),
    )
    layers = sizes.number(f"{name}_layers")
    return stack_of(shape, layers, inner, weights, sizes.word("activation_function"), name)


FAMILIES = {"marian": marian}
