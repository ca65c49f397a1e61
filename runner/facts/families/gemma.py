"""Gemma 1 to 3: wide heads, a vocabulary tied to the head, and from the second on norms before and after each block."""

from __future__ import annotations

from typing import Any

from runner.facts.architecture import Architecture, Weight
from runner.facts.families.llama import BLOCK_NORMS, LLAMA, head_norms, last_norm, llama_shape, llama_stack, some_slide
from runner.facts.families.parts import attention, decoder_model, gated_mlp, norms
from runner.facts.families.sizes import Shape, Sizes

GEMMA = {
    **LLAMA,
    "vocab_size": 256000,
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
GEMMA2 = {
    **GEMMA,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 4096,
}
GEMMA3 = {**GEMMA2, "vocab_size": 262208, "max_position_embeddings": 131072}
AROUND_NORMS = (*BLOCK_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm")


def blocks(sizes: Sizes, shape: Shape) -> tuple[Weight, ...]:
    bias = sizes.flag("attention_bias")
    return (
        *attention(shape, bias=bias, out_bias=bias),
        *gated_mlp(shape.hidden, sizes.number("intermediate_size")),
    )


def gemma(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, GEMMA)
    shape = llama_shape(sizes)
    stack = llama_stack(sizes, shape, (*blocks(sizes, shape), *norms(shape.hidden, *BLOCK_NORMS)))
    return decoder_model(sizes, (stack,), last_norm(shape))


def sliding(sizes: Sizes, shape: Shape, weights: tuple[Weight, ...]) -> Architecture:
    """Layers that look back a window between ones that look back fully."""
    window, notes = some_slide(sizes, first=1)
    weights = (*weights, *norms(shape.hidden, *AROUND_NORMS))
    stack = llama_stack(sizes, shape, weights, window=window, activation="hidden_activation")
    return decoder_model(sizes, (stack,), last_norm(shape), notes=notes)


def gemma2(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, GEMMA2)
    shape = llama_shape(sizes)
    return sliding(sizes, shape, blocks(sizes, shape))


def gemma3_text(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, GEMMA3)
    shape = llama_shape(sizes)
    return sliding(sizes, shape, (*blocks(sizes, shape), *head_norms(shape)))


FAMILIES = {"gemma": gemma, "gemma2": gemma2, "gemma3_text": gemma3_text}
