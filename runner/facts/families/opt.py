"""OPT: learned positions, biases by `enable_bias`, and in the 350m narrower embeddings with projections around."""

from __future__ import annotations

from typing import Any

from runner.facts.architecture import Architecture, Weight
from runner.facts.families.parts import attention, head, linear, norms, plain_mlp, stack_of, table
from runner.facts.families.sizes import Sizes, shape_of

OPT = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "max_position_embeddings": 2048,
    "do_layer_norm_before": True,
    "num_attention_heads": 12,
    "activation_function": "relu",
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "tie_word_embeddings": True,
}
UNUSED_POSITIONS = 2  # places are counted from 2, so the table has two more than the model has positions


def opt(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, OPT)
    shape = shape_of(sizes)
    bias, affine = sizes.flag("enable_bias"), sizes.flag("layer_norm_elementwise_affine")
    inner = sizes.number("ffn_dim")
    own_norms = norms(shape.hidden, "self_attn_layer_norm", "final_layer_norm", bias=True)
    weights = (
        *attention(shape, "q_proj k_proj v_proj out_proj", bias=bias, out_bias=bias),
        *plain_mlp(shape.hidden, inner, "fc1 fc2", bias),
        *(own_norms if affine else ()),
    )
    stack = stack_of(shape, sizes.number("num_hidden_layers"), inner, weights, sizes.word("activation_function"))
    final = affine and sizes.flag("do_layer_norm_before") and not sizes.flag("_remove_final_layer_norm")
    vocab, tied = sizes.number("vocab_size"), sizes.flag("tie_word_embeddings")
    width = sizes.number("word_embed_proj_dim", null=shape.hidden)
    positions = sizes.number("max_position_embeddings")
    outer = (
        table("embed_tokens", vocab, width),
        table("embed_positions", positions + UNUSED_POSITIONS, shape.hidden, "position"),
        *projections(shape.hidden, width),
        *(norms(shape.hidden, "final_layer_norm", bias=True) if final else ()),
        *head("lm_head", vocab, width, tied),
    )
    return Architecture("opt", (stack,), outer, vocab, positions, tied)


def projections(hidden: int, width: int) -> tuple[Weight, ...]:
    """From embeddings of another width to the model's own, and back before the head."""
    if width == hidden:
        return ()
    return linear("project_in", "embedding", hidden, width), linear("project_out", "head", width, hidden)


FAMILIES = {"opt": opt}
