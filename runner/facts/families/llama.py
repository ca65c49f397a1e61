"""Decoders built like Llama: Mistral, Qwen, Olmo, StableLM, StarCoder2 and Phi-3 differ in biases, norms and fusing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families.parts import (
    attention,
    decoder_model,
    fused_attention,
    gated_mlp,
    linear,
    norm,
    norms,
    plain_mlp,
    stack_of,
)
from runner.facts.families.sizes import Shape, Sizes, shape_of

LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
MISTRAL = {
    **LLAMA,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}
QWEN = {
    **LLAMA,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
}
OLMO = {**LLAMA, "vocab_size": 50304}
PHI3 = {**LLAMA, "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 4096}
STABLELM = {
    **LLAMA,
    "vocab_size": 50304,
    "hidden_size": 2560,
    "intermediate_size": 6912,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "partial_rotary_factor": 0.25,
}
STARCODER2 = {
    **LLAMA,
    "vocab_size": 49152,
    "hidden_size": 3072,
    "intermediate_size": 12288,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 2,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 4096,
    "use_bias": True,
    "tie_word_embeddings": True,
}
BLOCK_NORMS = ("input_layernorm", "post_attention_layernorm")


def llama_shape(sizes: Sizes) -> Shape:
    return shape_of(sizes, kv="num_key_value_heads", head_dim="head_dim")


def llama_stack(
    sizes: Sizes,
    shape: Shape,
    weights: tuple[Weight, ...],
    norm: Literal["rms", "layer"] = "rms",
    gated: bool = True,
    parallel: bool = False,
    window: int | None = None,
    activation: str = "hidden_act",
) -> Stack:
    """All layers of a decoder; `activation` is the key that names it."""
    layers, inner = sizes.number("num_hidden_layers"), sizes.number("intermediate_size")
    return replace(
        stack_of(shape, layers, inner, weights, sizes.word(activation)),
        gated=gated,
        norm=norm,
        rotary=sizes.share("partial_rotary_factor"),
        parallel=parallel,
        window=window,
    )


def last_norm(shape: Shape, bias: bool = False) -> tuple[Weight, ...]:
    return norms(shape.hidden, "norm", bias=bias)


def some_slide(sizes: Sizes, first: int) -> tuple[int | None, tuple[str, ...]]:
    """The window where every layer from `first` = 0 slides; where just some do, all are counted as looking back fully.

    A config may list what each layer does in `layer_types`.
    """
    window = sizes.optional("sliding_window")
    kinds = sizes.values.get("layer_types")
    every = first == 0
    some = first < sizes.number("num_hidden_layers")
    if isinstance(kinds, list) and kinds:
        every = all(kind == "sliding_attention" for kind in kinds)
        some = "sliding_attention" in kinds
    if window is None or not some:
        return None, ()
    if every:
        return window, ()
    return None, (f"some layers look back {window} tokens only; attention is counted as if all looked back fully",)


def llama(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, LLAMA)
    shape = llama_shape(sizes)
    bias = sizes.flag("attention_bias")
    weights = (
        *attention(shape, bias=bias, out_bias=bias),
        *gated_mlp(shape.hidden, sizes.number("intermediate_size"), bias=sizes.flag("mlp_bias")),
        *norms(shape.hidden, *BLOCK_NORMS),
    )
    return decoder_model(sizes, (llama_stack(sizes, shape, weights),), last_norm(shape))


def mistral(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, MISTRAL)
    shape = llama_shape(sizes)
    mlp = gated_mlp(shape.hidden, sizes.number("intermediate_size"))
    weights = (*attention(shape), *mlp, *norms(shape.hidden, *BLOCK_NORMS))
    return decoder_model(
        sizes, (llama_stack(sizes, shape, weights, window=sizes.optional("sliding_window")),), last_norm(shape)
    )


def qwen_window(sizes: Sizes, first: int) -> tuple[int | None, tuple[str, ...]]:
    """Layers from `first` on slide, if `use_sliding_window` says so at all."""
    return some_slide(sizes, first) if sizes.flag("use_sliding_window") else (None, ())


def dense_window(sizes: Sizes) -> tuple[int | None, tuple[str, ...]]:
    return qwen_window(sizes, sizes.number("max_window_layers", null=28, least=0))


def qwen2(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, {**QWEN, "sliding_window": 4096})
    shape = llama_shape(sizes)
    mlp = gated_mlp(shape.hidden, sizes.number("intermediate_size"))
    weights = (*attention(shape, bias=True), *mlp, *norms(shape.hidden, *BLOCK_NORMS))
    window, notes = dense_window(sizes)
    return decoder_model(sizes, (llama_stack(sizes, shape, weights, window=window),), last_norm(shape), notes=notes)


def head_norms(shape: Shape) -> tuple[Weight, ...]:
    """Norms over single heads of queries and keys."""
    return norms(shape.head_dim, "q_norm", "k_norm")


def qwen3(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, {**QWEN, "head_dim": 128, "sliding_window": 4096})
    shape = llama_shape(sizes)
    bias = sizes.flag("attention_bias")
    mlp = gated_mlp(shape.hidden, sizes.number("intermediate_size"))
    projections = (*attention(shape, bias=bias, out_bias=bias), *head_norms(shape))
    window, notes = dense_window(sizes)
    weights = (*projections, *mlp, *norms(shape.hidden, *BLOCK_NORMS))
    return decoder_model(sizes, (llama_stack(sizes, shape, weights, window=window),), last_norm(shape), notes=notes)


def olmo(config: dict[str, Any]) -> Architecture:
    """Its norms have no weights at all."""
    sizes = Sizes(config, OLMO)
    shape = llama_shape(sizes)
    bias = sizes.flag("attention_bias")
    mlp = gated_mlp(shape.hidden, sizes.number("intermediate_size"))
    weights = (*attention(shape, bias=bias, out_bias=bias), *mlp)
    return decoder_model(sizes, (llama_stack(sizes, shape, weights, norm="layer"),), ())


def olmo2(config: dict[str, Any]) -> Architecture:
    """Norms after each block, and over all queries and all keys."""
    sizes = Sizes(config, OLMO)
    shape = llama_shape(sizes)
    bias = sizes.flag("attention_bias")
    weights = (
        *attention(shape, bias=bias, out_bias=bias),
        norm("q_norm", shape.queries),
        norm("k_norm", shape.keys),
        *gated_mlp(shape.hidden, sizes.number("intermediate_size")),
        *norms(shape.hidden, "post_attention_layernorm", "post_feedforward_layernorm"),
    )
    return decoder_model(sizes, (llama_stack(sizes, shape, weights),), last_norm(shape))


def phi3(config: dict[str, Any]) -> Architecture:
    """Queries, keys and values in one layer, gate and up in another."""
    sizes = Sizes(config, PHI3)
    shape = llama_shape(sizes)
    inner = sizes.number("intermediate_size")
    weights = (
        *fused_attention(shape, "qkv_proj o_proj"),
        linear("gate_up_proj", "mlp", 2 * inner, shape.hidden),
        linear("down_proj", "mlp", shape.hidden, inner),
        *norms(shape.hidden, *BLOCK_NORMS),
    )
    return decoder_model(
        sizes, (llama_stack(sizes, shape, weights, window=sizes.optional("sliding_window")),), last_norm(shape)
    )


def stablelm(config: dict[str, Any]) -> Architecture:
    """LayerNorms; with `use_parallel_residual` one feeds both blocks, with `qk_layernorm` each head has its own."""
    sizes = Sizes(config, STABLELM)
    shape = shape_of(sizes, kv="num_key_value_heads")
    parallel = sizes.flag("use_parallel_residual")
    per_head: tuple[Weight, ...] = ()
    if sizes.flag("qk_layernorm"):
        per_head = (
            norm("q_layernorm", shape.head_dim, copies=shape.heads),
            norm("k_layernorm", shape.head_dim, copies=shape.kv_heads),
        )
    weights = (
        *attention(shape, bias=sizes.flag("use_qkv_bias")),
        *per_head,
        *gated_mlp(shape.hidden, sizes.number("intermediate_size")),
        *norms(shape.hidden, *(BLOCK_NORMS[:1] if parallel else BLOCK_NORMS), bias=True),
    )
    stack = llama_stack(sizes, shape, weights, norm="layer", parallel=parallel)
    return decoder_model(sizes, (stack,), last_norm(shape, bias=True))


def starcoder2(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, STARCODER2)
    shape = llama_shape(sizes)
    bias = sizes.flag("use_bias")
    weights = (
        *attention(shape, bias=bias, out_bias=bias),
        *plain_mlp(shape.hidden, sizes.number("intermediate_size"), "c_fc c_proj", bias),
        *norms(shape.hidden, *BLOCK_NORMS, bias=True),
    )
    window = sizes.optional("sliding_window")
    stack = llama_stack(sizes, shape, weights, norm="layer", gated=False, window=window)
    return decoder_model(sizes, (stack,), last_norm(shape, bias=True))


FAMILIES = {
    "llama": llama,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "olmo": olmo,
    "olmo2": olmo2,
    "phi3": phi3,
    "stablelm": stablelm,
    "starcoder2": starcoder2,
}
