"""Rules about number formats: bf16, fp16, quantized weights."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

# what modules that hold token embeddings are called, across families
_EMBEDDINGS = {"embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings", "embeddings"}


@rule(
    "R101",
    "4-bit weights with ZeRO-3",
    source="https://huggingface.co/docs/peft/accelerate/deepspeed",
)
def four_bit_with_zero3(facts: Facts) -> Iterator[Diagnostic]:
    """ZeRO-3 partitions parameters by their floating-point storage. bitsandbytes packs two 4-bit weights into one byte
    with separate scales, which the partitioner of this DeepSpeed cannot gather again: training fails when the model is
    built, or gathers garbage. On two 80 GB GPUs a 34B model in NF4 takes about 18 GiB per GPU and needs no sharding.
    """
    if facts.has("load_in_4bit") and facts.zero_stage == 3:
        yield facts.report(
            "R101",
            "load_in_4bit",
            "`load_in_4bit` does not work with ZeRO-3",
            label="weights packed in 4 bits can't be partitioned",
            note="the whole quantized model stays on each GPU; ZeRO-2 shards the adapter's optimizer all the same",
            help="set `deepspeed: zero2` or leave `deepspeed` out",
        )


@rule(
    "R102",
    "bf16 and fp16 together",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/config/__init__.py",
    severity="warning",
)
def bf16_and_fp16(facts: Facts) -> Iterator[Diagnostic]:
    """Training runs in one half-precision format. Where both are asked for, Axolotl turns `fp16` off while it works
    out the data type and says nothing, so the run is in bf16 whatever the recipe meant.
    """
    if facts.get("bf16") is True and facts.has("fp16"):
        yield facts.report(
            "R102",
            "fp16",
            "`fp16` is ignored beside `bf16`",
            label="bf16 wins",
            help="remove `fp16`",
            severity="warning",
        )


@rule(
    "R103",
    "fp16 with trainable half-precision weights",
    source="https://github.com/huggingface/peft/issues/341",
)
def fp16_trains_half_weights(facts: Facts) -> Iterator[Diagnostic]:
    """Mixed precision in fp16 scales the loss and unscales gradients before the step, and PyTorch's scaler refuses
    gradients that are fp16 themselves. Axolotl loads the model in fp16; LoRA's own matrices are kept in fp32, but
    everything else that trains (all weights without an adapter, the modules of `lora_modules_to_save` with one) stays
    in fp16, so the first step ends with "Attempting to unscale FP16 gradients". DeepSpeed scales by itself.
    """
    sharded = facts.has("deepspeed") or facts.has("fsdp") or facts.has("fsdp_config")
    if not facts.has("fp16") or facts.get("bf16") is True or facts.has("bfloat16") or sharded:
        return
    saved = facts.get("lora_modules_to_save", [])
    if facts.adapter in ("lora", "qlora") and _EMBEDDINGS & set(saved):
        at, what = "lora_modules_to_save", "the modules of `lora_modules_to_save`"
    elif facts.lacks("adapter") and not facts.has("architecture") and not facts.has("reinit_weights"):
        at, what = "fp16", "all weights"
    else:
        return
    yield facts.report(
        "R103",
        at,
        f"`fp16` can't train {what}",
        label="they are loaded in fp16, and so are their gradients",
        note="PyTorch stops at the first step: Attempting to unscale FP16 gradients (huggingface/peft#341)",
        help="set `bf16: true` and remove `fp16`",
    )
