"""Rule about options that Axolotl refuses together."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

# (one key, another, why)
_PAIRS = (
    ("lr_groups", "loraplus_lr_ratio", "both give parameters learning rates of their own"),
    ("max_memory", "gpu_memory_limit", "both say how much of a GPU may be used"),
    ("model_quantization_config", "load_in_4bit", "both say how the base is quantized"),
    ("model_quantization_config", "load_in_8bit", "both say how the base is quantized"),
    ("noisy_embedding_alpha", "neftune_noise_alpha", "one is the older name of the other"),
    ("pretrain_multipack_buffer_size", "streaming_multipack_buffer_size", "one is the older name of the other"),
    ("include_tokens_per_second", "pretraining_dataset", "the tokens of a stream can't be counted beforehand"),
    ("relora", "fsdp", "adapters are merged into whole weights"),
    ("relora", "fsdp_config", "adapters are merged into whole weights"),
    ("relora", "deepspeed", "adapters are merged into whole weights"),
    ("relora", "flash_attn_fuse_mlp", "adapters need the layers as they were"),
    ("flash_attn_fuse_mlp", "adapter", "adapters need the layers as they were"),
    ("use_onebitllms", "adapter", "the layers it puts in take no adapter"),
    ("ple_cpu_offload", "fsdp", "FSDP places parameters itself"),
    ("ple_cpu_offload", "fsdp_config", "FSDP places parameters itself"),
    ("ple_cpu_offload", "deepspeed", "DeepSpeed places parameters itself"),
    ("qat", "load_in_4bit", "the weights that train are quantized as they are used, not as they are loaded"),
    ("qat", "load_in_8bit", "the weights that train are quantized as they are used, not as they are loaded"),
    ("qat", "peft", "the weights that train are quantized as they are used, not as they are loaded"),
    ("use_scattermoe", "use_sonicmoe", "both compute the experts"),
    ("liger_swiglu", "liger_glu_activation", "one is the older name of the other"),
    ("do_causal_lm_eval", "eval_sample_packing", "text is generated for each row by itself"),
)

# matrix products, whose results PEFT adds to in place
_PRODUCTS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")


@rule(
    "R831",
    "two options that exclude each other",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py",
)
def exclusive_options(facts: Facts) -> Iterator[Diagnostic]:
    """Two names for one thing with two values, or two parts of the engine that would each take over the same weights.
    Axolotl's validator refuses the pair.
    """
    for one, two, why in _PAIRS:
        if facts.has(one) and facts.has(two):
            yield facts.report(
                "R831",
                one,
                f"`{one}` and `{two}` can't be used together",
                label=why,
                help=f"remove `{one}` or `{two}`",
            )
    yield from _with_values(facts)


def _with_values(facts: Facts) -> Iterator[Diagnostic]:
    """Where it takes a certain value of one of them."""
    packs = facts.has("sample_packing")
    patterns = facts.has("peft_layers_to_transform") and facts.has("unfrozen_parameters")
    many = len(facts.get("datasets", [])) > 1
    kernel, offloads = facts.get("attn_implementation"), facts.get("activation_offloading")
    hybrid = facts.has("gemma4_hybrid_attn_impl") and kernel not in (None, "flash_attention_2")
    optimum = facts.get("flash_optimum") is True and (facts.get("bf16", "auto") or facts.has("fp16"))
    saved = [str(each) for each in facts.get("selective_checkpointing.save", [])]
    products = [each for each in saved if each != "attention" and any(each in op for op in _PRODUCTS)]
    cases = (
        (bool(products) and facts.has("adapter"), "selective_checkpointing.save", "an adapter"),
        (facts.has("adapter") and patterns, "peft_layers_to_transform", "`unfrozen_parameters`"),
        (facts.has("relora") and facts.get("lr_scheduler") == "one_cycle", "lr_scheduler", "`relora`"),
        (packs and facts.has("streaming") and many, "sample_packing", "`streaming` from several datasets"),
        (hybrid, "gemma4_hybrid_attn_impl", f"`attn_implementation: {kernel}`"),
        (optimum, "flash_optimum", "mixed precision"),
        (
            packs and facts.has("eval_table_size") and facts.get("eval_sample_packing") is not False,
            "eval_table_size",
            "packed evaluation rows",
        ),
        (
            facts.has("selective_checkpointing") and bool(offloads) and offloads != "hidden_states",
            "selective_checkpointing",
            f"`activation_offloading: {str(offloads).lower()}`",
        ),
        (
            facts.has("liger_rms_norm") and facts.get("tensor_parallel_size", 1) > 1,
            "liger_rms_norm",
            "`tensor_parallel_size`",
        ),
        (
            facts.has("trl.use_liger_loss") and facts.get("context_parallel_size", 1) > 1,
            "trl.use_liger_loss",
            "`context_parallel_size`",
        ),
    )
    for holds, key, other in cases:
        if holds:
            yield facts.report("R831", key, f"`{key}` does not work with {other}", help=f"change or remove `{key}`")
