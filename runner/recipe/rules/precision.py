"""Rules about number formats: bf16, fp16, quantized weights."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule


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
