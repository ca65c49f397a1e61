"""Decoders with one projection for queries, keys and values: GPT-NeoX (Pythia), Falcon, BLOOM and MPT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.facts.architecture import Architecture, Weight
from runner.facts.families.parts import decoder_model, fused_attention, norms, plain_mlp, stack_of
from runner.facts.families.sizes import Shape, Sizes, shape_of

NEOX = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "intermediate_size": 24576,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "use_parallel_residual": True,
    "attention_bias": True,
    "rotary_pct": 0.25,
}
FALCON = {
    "vocab_size": 65024,
    "hidden_size": 4544,
    "num_hidden_layers": 32,
    "num_attention_heads": 71,
    "activation": "gelu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "new_decoder_architecture": False,
    "multi_query": True,
    "parallel_attn": True,
    "bias": False,
    "alibi": False,
}
BLOOM = {"vocab_size": 250880, "hidden_size": 64, "n_layer": 2, "n_head": 8, "tie_word_embeddings": True}
MPT = {
    "vocab_size": 50368,
    "d_model": 2048,
    "n_layers": 24,
    "n_heads": 16,
    "max_seq_len": 2048,
    "tie_word_embeddings": True,
}


def gpt_neox(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, NEOX)
    shape = shape_of(sizes)
    inner = sizes.number("intermediate_size")
    weights = (
        *fused_attention(shape, "query_key_value dense", sizes.flag("attention_bias")),
        *plain_mlp(shape.hidden, inner, "dense_h_to_4h dense_4h_to_h"),
        *norms(shape.hidden, "input_layernorm", "post_attention_layernorm", bias=True),
    )
    stack = stack_of(shape, sizes.number("num_hidden_layers"), inner, weights, sizes.word("hidden_act"))
    stack = replace(stack, rotary=sizes.share("rotary_pct"), parallel=sizes.flag("use_parallel_residual"))
    return decoder_model(sizes, (stack,), norms(shape.hidden, "final_layer_norm", bias=True), embed="embed_in")


def falcon_norms(sizes: Sizes, hidden: int) -> tuple[Weight, ...]:
    """One norm for attention and MLP side by side, two where the 40B's design gives each its own."""
    if not sizes.flag("parallel_attn"):
        return norms(hidden, "input_layernorm", "post_attention_layernorm", bias=True)
    usual = 2 if sizes.flag("new_decoder_architecture") else 1
    if sizes.number("num_ln_in_parallel_attn", null=usual) == 2:
        return norms(hidden, "ln_attn", "ln_mlp", bias=True)
    return norms(hidden, "input_layernorm", bias=True)


def falcon(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, FALCON, {"n_embed": "hidden_size"})
    shape = shape_of(sizes)
    new, multi_query = sizes.flag("new_decoder_architecture"), sizes.flag("multi_query")
    # `num_kv_heads` is read by the new design alone; before it there was one head, or all of them
    kv = sizes.number("num_kv_heads", null=shape.heads) if new else 1 if multi_query else shape.heads
    shape = Shape(shape.hidden, shape.heads, kv, shape.head_dim)
    inner = sizes.number("ffn_hidden_size", null=4 * shape.hidden)
    bias = sizes.flag("bias")
    weights = (
        *fused_attention(shape, "query_key_value dense", bias),
        *plain_mlp(shape.hidden, inner, "dense_h_to_4h dense_4h_to_h", bias),
        *falcon_norms(sizes, shape.hidden),
    )
    stack = stack_of(shape, sizes.number("num_hidden_layers"), inner, weights, sizes.word("activation"))
    stack = replace(stack, rotary=0.0 if sizes.flag("alibi") else 1.0, parallel=new or sizes.flag("parallel_attn"))
    return decoder_model(sizes, (stack,), norms(shape.hidden, "ln_f", bias=True), embed="word_embeddings")


def bloom(config: dict[str, Any]) -> Architecture:
    """Its word embeddings pass a norm of their own; ALiBi sets no limit to the tokens."""
    aliases = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "n_embed": "hidden_size"}
    sizes = Sizes(config, BLOOM, aliases)
    shape = shape_of(sizes, heads="n_head")
    weights = (
        *fused_attention(shape, "query_key_value dense", bias=True),
        *plain_mlp(shape.hidden, 4 * shape.hidden, "dense_h_to_4h dense_4h_to_h"),
        *norms(shape.hidden, "input_layernorm", "post_attention_layernorm", bias=True),
    )
    stack = stack_of(shape, sizes.number("n_layer"), 4 * shape.hidden, weights, "gelu")
    around = norms(shape.hidden, "word_embeddings_layernorm", "ln_f", bias=True)
    return decoder_model(sizes, (stack,), around, embed="word_embeddings", positions="")


def mpt(config: dict[str, Any]) -> Architecture:
    """No biases anywhere. transformers ignores `expansion_ratio`, `attn_type` and `learned_pos_emb`, so they are not
    read: the MLP is always four times as wide."""
    aliases = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    sizes = Sizes(config, MPT, aliases)
    shape = shape_of(sizes, hidden="d_model", heads="n_heads")
    weights = (
        *fused_attention(shape, "Wqkv out_proj"),
        *plain_mlp(shape.hidden, 4 * shape.hidden, "up_proj down_proj", bias=False),
        *norms(shape.hidden, "norm_1", "norm_2"),
    )
    stack = stack_of(shape, sizes.number("n_layers"), 4 * shape.hidden, weights, "gelu")
    return decoder_model(sizes, (stack,), norms(shape.hidden, "norm_f"), embed="wte", positions="max_seq_len")


FAMILIES = {"gpt_neox": gpt_neox, "falcon": falcon, "bloom": bloom, "mpt": mpt}
