"""What is assumed of a `model_type` that no module here names: a Llama of the sizes its config gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.facts.architecture import Architecture
from runner.facts.families import ANY_OTHER, architecture_of
from runner.facts.families.llama import llama
from runner.facts.families.moe import qwen3_moe

# what configs call the sizes a Llama has
NAMES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim", "n_embed"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "vocab_size": ("vocab_size",),
    "intermediate_size": ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "ffn_hidden_size", "hidden_dim"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads"),
    "head_dim": ("head_dim", "d_kv"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions", "max_seq_len"),
    "num_experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "num_experts_per_token", "moe_topk"),
    "moe_intermediate_size": ("moe_intermediate_size", "intermediate_size"),
}
NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


def assumed(config: dict[str, Any]) -> Architecture:
    """Raises ValueError where the config lacks a width, layers, heads or a vocabulary."""
    called = str(config.get("model_type") or "")
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        found = architecture_of(dict(inner))
        note = f"only the language model inside `{called}` is counted"
        return replace(found, model_type=called, known=False, notes=(*found.notes, note))
    given = {ours: config[n] for ours, names in NAMES.items() for n in reversed(names) if config.get(n) is not None}
    for key in NEEDED:
        if key not in given:
            raise ValueError(f"the model's config gives no `{key}`, so its size can't be told")
    if "intermediate_size" not in given and isinstance(given["hidden_size"], int):
        given["intermediate_size"] = given["hidden_size"] * 8 // 3  # as many parameters as the usual plain MLP, 4 wide
    tied = config.get("tie_word_embeddings")
    sparse = "num_experts" in given and "num_experts_per_tok" in given
    # one expert is a dense layer; those that see every token, and dense layers between, are too varied to guess
    made = (qwen3_moe if sparse else llama)({**given, "model_type": called, "tie_word_embeddings": tied})
    note = f"`{called}` is not a family we count exactly: a Llama of its sizes is assumed"
    return replace(made, known=False, notes=(*made.notes, note if called else note.replace("`` is", "this is")))


FAMILIES = {ANY_OTHER: assumed}
