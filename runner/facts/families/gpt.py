"""GPT-2 and those that followed it closely: StarCoder's GPT-BigCode (one head of keys and values) and GPT-J."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families.parts import attention, decoder_model, fused_attention, norms, plain_mlp, stack_of, table
from runner.facts.families.sizes import Shape, Sizes, shape_of

GPT2 = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "activation_function": "gelu_new",
    "tie_word_embeddings": True,
}
GPT_BIGCODE = {**GPT2, "activation_function": "gelu_pytorch_tanh", "multi_query": True}
GPTJ = {
    **GPT2,
    "vocab_size": 50400,
    "n_positions": 2048,
    "n_embd": 4096,
    "n_layer": 28,
    "n_head": 16,
    "rotary_dim": 64,
    "tie_word_embeddings": False,
}
ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def gpt_shape(sizes: Sizes) -> Shape:
    return shape_of(sizes, hidden="n_embd", heads="n_head")


def gpt_stack(sizes: Sizes, shape: Shape, weights: tuple[Weight, ...]) -> Stack:
    activation = sizes.word("activation_function")
    return stack_of(shape, sizes.number("n_layer"), inner_of(sizes, shape), weights, activation)


def inner_of(sizes: Sizes, shape: Shape) -> int:
    return sizes.number("n_inner", null=4 * shape.hidden)


def with_positions(sizes: Sizes, shape: Shape) -> Architecture:
    """Learned positions, one projection for queries, keys and values; GPT-2 keeps it transposed, which changes nothing
    that is counted."""
    weights = (
        *fused_attention(shape, "c_attn c_proj", bias=True),
        *plain_mlp(shape.hidden, inner_of(sizes, shape), "c_fc c_proj"),
        *norms(shape.hidden, "ln_1", "ln_2", bias=True),
    )
    around = (
        table("wpe", sizes.number("n_positions"), shape.hidden, "position"),
        *norms(shape.hidden, "ln_f", bias=True),
    )
    return decoder_model(sizes, (gpt_stack(sizes, shape, weights),), around, embed="wte", positions="n_positions")


def gpt2(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, GPT2, ALIASES)
    return with_positions(sizes, gpt_shape(sizes))


def gpt_bigcode(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, GPT_BIGCODE, ALIASES)
    shape = gpt_shape(sizes)
    if sizes.flag("multi_query"):
        shape = Shape(shape.hidden, shape.heads, 1, shape.head_dim)
    return with_positions(sizes, shape)


def gptj(config: dict[str, Any]) -> Architecture:
    """Attention and MLP side by side after one norm; its head has a bias."""
    sizes = Sizes(config, GPTJ, ALIASES)
    shape = gpt_shape(sizes)
    weights = (
        *attention(shape, "q_proj k_proj v_proj out_proj"),
        *plain_mlp(shape.hidden, inner_of(sizes, shape), "fc_in fc_out"),
        *norms(shape.hidden, "ln_1", bias=True),
    )
    rotary = min(1.0, sizes.number("rotary_dim", null=shape.head_dim) / shape.head_dim)
    stack = replace(gpt_stack(sizes, shape, weights), rotary=rotary, parallel=True)
    around = norms(shape.hidden, "ln_f", bias=True)
    return decoder_model(sizes, (stack,), around, embed="wte", positions="n_positions", bias=True)


FAMILIES = {"gpt2": gpt2, "gpt_bigcode": gpt_bigcode, "gptj": gptj}
