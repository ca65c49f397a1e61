"""Mixtures of experts: Mixtral and Qwen's, whose experts transformers 5 keeps as stacked 3-D parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families.llama import (
    BLOCK_NORMS,
    MISTRAL,
    QWEN,
    head_norms,
    last_norm,
    llama_shape,
    llama_stack,
    qwen_window,
)
from runner.facts.families.parts import attention, decoder_model, gated_mlp, linear, norms
from runner.facts.families.sizes import Sizes

MIXTRAL = {**MISTRAL, "sliding_window": None, "num_local_experts": 8, "num_experts_per_tok": 2}
QWEN_MOE = {
    **QWEN,
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "decoder_sparse_step": 1,
    "sliding_window": 4096,
}
QWEN2_MOE = {
    **QWEN_MOE,
    "intermediate_size": 5632,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts_per_tok": 4,
    "num_experts": 60,
    "qkv_bias": True,
}
QWEN3_MOE = {
    **QWEN_MOE,
    "intermediate_size": 6144,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 768,
    "num_experts_per_tok": 8,
    "num_experts": 128,
}


def experts(hidden: int, inner: int, count: int, chosen: int) -> tuple[Weight, ...]:
    """The router and its `count` experts, of which each token sees `chosen`."""
    if chosen > count:
        raise ValueError(f"a token can't go to {chosen} of {count} experts")
    share = chosen / count
    return (
        Weight("gate", "router", count, hidden),
        Weight("gate_up_proj", "experts", 2 * inner, hidden, copies=count, active=share),
        Weight("down_proj", "experts", hidden, inner, copies=count, active=share),
    )


def mixtral(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, MIXTRAL, {"num_experts": "num_local_experts"})
    shape = llama_shape(sizes)
    count, chosen = sizes.number("num_local_experts"), sizes.number("num_experts_per_tok")
    weights = (
        *attention(shape),
        *experts(shape.hidden, sizes.number("intermediate_size"), count, chosen),
        *norms(shape.hidden, *BLOCK_NORMS),
    )
    stack = llama_stack(sizes, shape, weights, window=sizes.optional("sliding_window"))
    stack = replace(stack, experts=count, experts_per_token=chosen)
    return decoder_model(sizes, (stack,), last_norm(shape))


def sparse_layers(sizes: Sizes, count: int) -> int:
    """How many layers have experts: every `decoder_sparse_step`-th, but none that `mlp_only_layers` names."""
    step = sizes.number("decoder_sparse_step")
    dense = sizes.values.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise ValueError(f"`mlp_only_layers` of the model's config is {dense!r}, not a list")
    layers = sizes.number("num_hidden_layers")
    spared = {layer for layer in dense if isinstance(layer, int) and 0 <= layer < layers and (layer + 1) % step == 0}
    return layers // step - len(spared) if count else 0


def qwen_moe(
    sizes: Sizes, projections: tuple[Weight, ...], shared: tuple[Weight, ...], slides_from: int
) -> Architecture:
    """Layers with experts (and `shared` ones that see every token), then the dense ones between them, if any."""
    shape = llama_shape(sizes)
    count = sizes.number("num_experts", least=0)
    around = (*projections, *norms(shape.hidden, *BLOCK_NORMS))
    window, notes = qwen_window(sizes, slides_from)
    whole = llama_stack(sizes, shape, (*around, *gated_mlp(shape.hidden, sizes.number("intermediate_size"))))
    whole = replace(whole, window=window)
    sparse = sparse_layers(sizes, count)
    stacks: list[Stack] = []
    if sparse:
        inner, chosen = sizes.number("moe_intermediate_size"), sizes.number("num_experts_per_tok")
        weights = (*around, *experts(shape.hidden, inner, count, chosen), *shared)
        stacks.append(
            replace(whole, layers=sparse, inner=inner, weights=weights, experts=count, experts_per_token=chosen)
        )
    if sparse < whole.layers:
        stacks.append(replace(whole, layers=whole.layers - sparse))
    return decoder_model(sizes, tuple(stacks), last_norm(shape), notes=notes)


def qwen2_moe(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, QWEN2_MOE)
    shape = llama_shape(sizes)
    shared = (
        *gated_mlp(shape.hidden, sizes.number("shared_expert_intermediate_size")),
        linear("shared_expert_gate", "router", 1, shape.hidden),
    )
    return qwen_moe(sizes, attention(shape, bias=sizes.flag("qkv_bias")), shared, slides_from=1)


def qwen3_moe(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, QWEN3_MOE, {"num_local_experts": "num_experts"})
    shape = llama_shape(sizes)
    bias = sizes.flag("attention_bias")
    return qwen_moe(sizes, (*attention(shape, bias=bias, out_bias=bias), *head_norms(shape)), (), slides_from=0)


FAMILIES = {"mixtral": mixtral, "qwen2_moe": qwen2_moe, "qwen3_moe": qwen3_moe}
