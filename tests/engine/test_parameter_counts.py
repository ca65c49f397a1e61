"""What architecture_of counts against the models transformers itself builds, on the meta device, to the parameter."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runner.engines.environment import Environment
from runner.facts.families import ANY_OTHER, architecture_of, families
from runner.facts.models import catalogue

pytestmark = pytest.mark.engine

Config = dict[str, Any]

# for every line of JSON on stdin, a config, a line on stdout: parameters, and the linear layers by name and shape
COUNT = """
import json, sys
import torch, transformers
from transformers import AutoConfig
from transformers.pytorch_utils import Conv1D

def build(given):
    config = AutoConfig.for_model(**given)
    named = (given.get("architectures") or [None])[0]
    auto = {"bert": "AutoModelForMaskedLM", "roberta": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM",
            "marian": "AutoModelForSeq2SeqLM",
            "llava": "AutoModelForImageTextToText"}.get(given["model_type"], "AutoModelForCausalLM")
    with torch.device("meta"):
        if named and given["model_type"] in ("bert", "roberta"):
            return getattr(transformers, named)(config)
        return getattr(transformers, auto).from_config(config)

for line in sys.stdin:
    try:
        model = build(json.loads(line))
    except Exception as error:
        print("COUNT " + json.dumps({"error": repr(error)}))
        continue
    linear = {}
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)):
            rows, cols = module.weight.shape if isinstance(module, torch.nn.Linear) else module.weight.shape[::-1]
            key = f"{name.rpartition('.')[2]} {rows}x{cols}"
            linear[key] = linear.get(key, 0) + 1
    config = model.config.get_text_config()
    print("COUNT " + json.dumps({
        "parameters": sum(p.numel() for p in model.parameters()),
        "linear": linear,
        "activation": next((getattr(config, k) for k in ("hidden_activation", "hidden_act", "activation_function",
            "activation", "dense_act_fn") if getattr(config, k, None)), "gelu"),
        "positions": getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None),
        "tied": model.config.tie_word_embeddings and model.get_output_embeddings() is not None,
        "rotary": (getattr(config, "rope_parameters", None) or {}).get("partial_rotary_factor"),
    }))
"""

# a T5 whose head isn't its embedding, as Flan-T5's isn't, saved and loaded again
RELOAD = """
import json, sys, torch
from transformers import AutoConfig, T5ForConditionalGeneration

model = T5ForConditionalGeneration(AutoConfig.for_model(**json.loads(sys.argv[1])))
model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
model.save_pretrained(sys.argv[2])
print("COUNT", sum(p.numel() for p in T5ForConditionalGeneration.from_pretrained(sys.argv[2]).parameters()))
"""

TINY = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
GPT = {"vocab_size": 320, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128}
NO_KV = {k: v for k, v in TINY.items() if k != "num_key_value_heads"}
MARIAN = {"vocab_size": 320, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
          "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "max_position_embeddings": 40,
          "pad_token_id": 0, "decoder_start_token_id": 0}  # fmt: skip
T5 = {"vocab_size": 320, "d_model": 64, "d_ff": 96, "d_kv": 24, "num_layers": 3, "num_heads": 4}
EXPERTS = {"moe_intermediate_size": 40, "num_experts_per_tok": 2, "num_experts": 6}
CLIP = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 8,
}


def family(model_type: str, base: Config, *options: Config) -> list[Config]:
    """The family as its class has it, `base`, and `base` with each of `options`."""
    return [{"model_type": model_type}, *({"model_type": model_type, **base, **o} for o in ({}, *options))]


SMALL: list[Config] = [
    *family("llama", TINY, {"attention_bias": True}, {"mlp_bias": True}, {"head_dim": 24}, {"head_dim": None}),
    *family("llama", TINY, {"tie_word_embeddings": True}, {"num_key_value_heads": None}, {"num_key_value_heads": 1}),
    *family("mistral", TINY, {"head_dim": 40}, {"sliding_window": None}),
    *family("mixtral", TINY, {"num_local_experts": 4, "num_experts_per_tok": 1}, {"num_experts": 3}, {"head_dim": 8}),
    *family("qwen2", TINY, {"tie_word_embeddings": True}, {"use_sliding_window": True, "max_window_layers": 1}),
    *family("qwen2_moe", {**TINY, **EXPERTS, "shared_expert_intermediate_size": 56}, {"qkv_bias": False}),
    *family("qwen2_moe", {**TINY, **EXPERTS}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [0, 1, 7]}),
    *family("qwen3", TINY, {"attention_bias": True}, {"head_dim": 20}, {"tie_word_embeddings": True}),
    *family("qwen3_moe", {**TINY, **EXPERTS}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [1]}),
    *family("qwen3_moe", {**TINY, **EXPERTS}, {"num_experts": 0}, {"attention_bias": True, "head_dim": 24}),
    *family("gemma", TINY, {"head_dim": 24}, {"attention_bias": True}, {"tie_word_embeddings": False}),
    *family("gemma2", TINY, {"head_dim": 24, "sliding_window": 32}, {"attention_bias": True}),
    *family("gemma3_text", TINY, {"head_dim": 24}, {"attention_bias": True}),
    *family("phi", TINY, {"qk_layernorm": True}, {"tie_word_embeddings": True}, {"partial_rotary_factor": 0.25}),
    *family("phi3", {**TINY, "pad_token_id": 0}, {"sliding_window": 64}, {"tie_word_embeddings": True}),
    *family("stablelm", TINY, {"use_qkv_bias": True}, {"qk_layernorm": True}, {"use_parallel_residual": True}),
    *family("gpt2", GPT, {"n_inner": 100}, {"n_inner": None, "tie_word_embeddings": False}),
    *family("gpt2", {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "n_embd": 32}),
    *family("gpt_bigcode", GPT, {"multi_query": False}, {"n_inner": 100}, {"tie_word_embeddings": False}),
    *family("gptj", {**GPT, "rotary_dim": 8}, {"tie_word_embeddings": True}, {"n_inner": 100}),
    *family("gpt_neox", NO_KV, {"use_parallel_residual": False}, {"attention_bias": False}, {"rotary_pct": 0.5}),
    *family("gpt_neox", NO_KV, {"tie_word_embeddings": True}, {"rope_parameters": {"partial_rotary_factor": 1.0}}),
    *family("starcoder2", TINY, {"use_bias": False}, {"tie_word_embeddings": False}),
    *family("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 3}, {"no_bias": False}, {"expansion_ratio": 2}),
    *family("mpt", {"hidden_size": 64, "num_attention_heads": 4, "n_layers": 3}, {"tie_word_embeddings": False}),
    *family("falcon", NO_KV, {"multi_query": False}, {"parallel_attn": False}, {"bias": True}, {"alibi": True}),
    *family("falcon", {**NO_KV, "new_decoder_architecture": True}, {"num_kv_heads": 2}, {"num_ln_in_parallel_attn": 1}),
    *family("falcon", {**NO_KV, "num_kv_heads": 2}, {"ffn_hidden_size": 100}, {"tie_word_embeddings": False}),
    *family("olmo", TINY, {"attention_bias": True}),
    *family("olmo2", TINY, {"attention_bias": True}, {"num_key_value_heads": 4}),
    *family("opt", {**NO_KV, "ffn_dim": 96}, {"word_embed_proj_dim": 32}, {"enable_bias": False}),
    *family("opt", {**NO_KV, "ffn_dim": 96}, {"layer_norm_elementwise_affine": False}, {"do_layer_norm_before": False}),
    *family("bloom", {"vocab_size": 320, "hidden_size": 64, "n_layer": 3, "n_head": 4}, {"num_hidden_layers": 2}),
    *family("bert", NO_KV, {"tie_word_embeddings": False}, {"type_vocab_size": 3}),
    *family("bert", NO_KV, *({"architectures": [f"Bert{kind}"], "num_labels": 5} for kind in (
        "Model", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification",
        "ForQuestionAnswering", "ForNextSentencePrediction", "ForMultipleChoice", "LMHeadModel"))),
    *family("roberta", NO_KV, *({"architectures": [f"Roberta{kind}"]} for kind in (
        "Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForMultipleChoice"))),
    *family("t5", T5, {"num_decoder_layers": 2}, *({"feed_forward_proj": f"gated-{act}"} for act in ("gelu", "silu"))),
    *family("t5", T5, {"relative_attention_num_buckets": 8}),
    *family("marian", MARIAN, {"decoder_layers": 3}, {"tie_word_embeddings": False}, {"activation_function": "relu"}),
    *family("marian", MARIAN, {"encoder_ffn_dim": 96, "decoder_ffn_dim": 160}, {"decoder_attention_heads": 2}),
    *family("llava", {"text_config": TINY, "vision_config": CLIP}, {"vision_feature_layer": [-2, -5]}),
    *family("llava", {"text_config": {"model_type": "phi", **TINY}, "vision_config": CLIP}),
    *family("llava", {"text_config": {"model_type": "gemma", **TINY}}, {"multimodal_projector_bias": False}),
]  # fmt: skip


def run(env: Environment, *argv: str, given: str = "") -> subprocess.CompletedProcess[str]:
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run([env.python, *argv], input=given, env=offline, capture_output=True, text=True, timeout=1800)


def counted(env: Environment, configs: list[Config]) -> list[dict[str, Any]]:
    done = run(env, "-c", COUNT, given="".join(json.dumps(c) + "\n" for c in configs))
    rows = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("COUNT ")]
    assert len(rows) == len(configs), done.stderr[-2000:]
    return rows


def ours(config: Config) -> dict[str, Any]:
    found = architecture_of(config)
    linear: Counter[str] = Counter()
    for weight, layers in found.weights():
        if weight.linear:
            linear[f"{weight.name} {weight.rows}x{weight.cols}"] += weight.copies * layers
    # a table of positions whose first rows go unused is as long in transformers' config, not in what it can take
    unused = 1 + config.get("pad_token_id", 1) if config["model_type"] == "roberta" else 0
    limited = config["model_type"] not in ("t5", "bloom")
    return {
        "parameters": found.parameters,
        "linear": dict(linear),
        "activation": found.decoder.activation,
        "positions": found.max_positions + unused if found.max_positions and limited else None,
        "tied": found.tied,
        "rotary": found.decoder.rotary,
    }


def differences(configs: list[Config], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for config, row in zip(configs, theirs, strict=True):
        mine = {k: v for k, v in ours(config).items() if k != "rotary" or row.get("rotary") is not None}
        row = {k: v for k, v in row.items() if k != "rotary" or v is not None}
        if mine != row:
            found[json.dumps(config)] = {
                k: (mine.get(k), row.get(k)) for k in {*mine, *row} if mine.get(k) != row.get(k)
            }
    return found


def test_every_option_of_every_family(axolotl: Environment) -> None:
    assert {c["model_type"] for c in SMALL} == set(families()) - {ANY_OTHER}
    assert differences(SMALL, counted(axolotl, SMALL)) == {}


def test_every_model_of_the_catalogue(axolotl: Environment) -> None:
    configs = {json.dumps(m.config): m.config for m in catalogue().values()}
    # transformers ties these when it makes them from scratch; loaded, they keep their head (the next test)
    loose = [c for c in configs.values() if c["model_type"] == "t5" and c.get("tie_word_embeddings") is False]
    rest = [c for c in configs.values() if c not in loose]
    assert len(rest) > 60
    assert differences(rest, counted(axolotl, rest)) == {}
    for config, row in zip(loose, counted(axolotl, loose), strict=True):
        assert architecture_of(config).parameters == row["parameters"] + config["vocab_size"] * config["d_model"]


def test_a_t5_with_a_head_of_its_own(axolotl: Environment, tmp_path: Path) -> None:
    config = {"model_type": "t5", **T5, "tie_word_embeddings": False}
    done = run(axolotl, "-c", RELOAD, json.dumps(config), str(tmp_path))
    assert f"COUNT {architecture_of(config).parameters}" in done.stdout.splitlines(), done.stderr[-2000:]
