"""Phi-1, 1.5 and 2: attention and MLP side by side after one norm, biases everywhere."""

from __future__ import annotations

from typing import Any

from runner.facts.architecture import Architecture
from runner.facts.families.llama import llama_shape, llama_stack
from runner.facts.families.parts import attention, decoder_model, norms, plain_mlp
from runner.facts.families.sizes import Sizes

PHI = {
    "vocab_size": 51200,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 2048,
    "partial_rotary_factor": 0.5,
    "tie_word_embeddings": False,
}


def phi(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, PHI)
    shape = llama_shape(sizes)
    # over single heads as transformers sizes them, by width / heads even where `head_dim` says otherwise
    per_head = norms(shape.hidden // shape.heads, "q_layernorm", "k_layernorm", bias=True)
    weights = (
        *attention(shape, "q_proj k_proj v_proj dense", bias=True, out_bias=True),
        *(per_head if sizes.flag("qk_layernorm") else ()),
        *plain_mlp(shape.hidden, sizes.number("intermediate_size"), "fc1 fc2"),
        *norms(shape.hidden, "input_layernorm", bias=True),
    )
    stack = llama_stack(sizes, shape, weights, norm="layer", gated=False, parallel=True)
    return decoder_model(sizes, (stack,), norms(shape.hidden, "final_layernorm", bias=True), bias=True)


FAMILIES = {"phi": phi}
