"""Rules about splitting a model over GPUs: DeepSpeed, FSDP, parallel sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.attention import attention_of

STAGES = ("zero1", "zero2", "zero3", "zero2_offload", "zero3_offload", "zero3_offload_all")
_BUNDLED = re.compile(r"(?:.*/)?zero[123](?:_bf16)?(?:_cpuoffload_all|_cpuoffload_params|_torch_compile)?\.json")
_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"


def fsdp_version(facts: Facts) -> int:
    """1 or 2 with FSDP, 0 without. Axolotl takes 1 where the recipe doesn't say."""
    if not facts.has("fsdp") and not facts.has("fsdp_config"):
        return 0
    given = facts.get("fsdp_version") or facts.get("fsdp_config.fsdp_version") or facts.get("fsdp_config.version")
    return 2 if str(given) == "2" else 1


def offloads_optimizer(facts: Facts) -> bool:
    """True where DeepSpeed keeps the optimizer in host memory."""
    given = facts.get("deepspeed")
    if isinstance(given, str):
        return "offload" in given
    device: Any = facts.get("deepspeed.zero_optimization.offload_optimizer.device", "none")
    return bool(device != "none")


@rule("R105", "DeepSpeed with FSDP", source=_VALIDATION)
def deepspeed_with_fsdp(facts: Facts) -> Iterator[Diagnostic]:
    """DeepSpeed and FSDP both take over how parameters, gradients and optimizer states are split, so only one of them
    can run. Axolotl refuses `fsdp` beside `deepspeed`; beside `fsdp_config` it sets up FSDP and hands the trainer
    DeepSpeed's file all the same.
    """
    other = "fsdp_config" if facts.has("fsdp_config") else "fsdp"
    if facts.has("deepspeed") and facts.has(other):
        yield facts.report(
            "R105",
            "deepspeed",
            f"`deepspeed` and `{other}` can't be used together",
            label="both split the model",
            help=f"remove `deepspeed` or `{other}`",
        )


@rule("R106", "unknown DeepSpeed configuration", source="https://docs.axolotl.ai/docs/multi-gpu.html")
def unknown_deepspeed(facts: Facts) -> Iterator[Diagnostic]:
    """`deepspeed` names a ZeRO stage (`zero2`, `zero3_offload`, ...), one of the files that Axolotl's examples name
    (`deepspeed_configs/zero3_bf16.json`), or holds DeepSpeed's own keys with a `zero_optimization`. The runner writes
    the file for the run; any other path would be read on a machine that may not have it.
    """
    given = facts.get("deepspeed")
    stages = ", ".join(f"`{s}`" for s in STAGES)
    if isinstance(given, str) and given not in STAGES and not _BUNDLED.fullmatch(given):
        close = nearest_word(given, list(STAGES))
        yield facts.report(
            "R106",
            "deepspeed",
            f"unknown DeepSpeed configuration `{printable(given)}`",
            label=f"did you mean `{close}`?" if close else "",
            note=f"stages: {stages}",
            help=f"set `deepspeed: {close}`" if close else "name a stage, or give DeepSpeed's keys as a mapping",
        )
    elif isinstance(given, dict) and not isinstance(given.get("zero_optimization"), dict):
        yield facts.report(
            "R106",
            "deepspeed",
            "`deepspeed` lacks `zero_optimization`",
            label="nothing would be split",
            note=f"stages by name: {stages}",
            help="add `zero_optimization: {stage: 2}` or name a stage",
        )


@rule("R109", "FSDP version without FSDP", source="https://docs.axolotl.ai/docs/multi-gpu.html", severity="warning")
def fsdp_version_alone(facts: Facts) -> Iterator[Diagnostic]:
    """`fsdp_config` is what turns FSDP on. With `fsdp_version` alone Axolotl sets up plain data parallel training and
    every GPU holds the whole model, optimizer states included.
    """
    if facts.has("fsdp_version") and facts.lacks("fsdp_config") and facts.lacks("fsdp"):
        yield facts.report(
            "R109",
            "fsdp_version",
            "`fsdp_version` does nothing without `fsdp_config`",
            label="every GPU would hold the whole model",
            help="add `fsdp_config`, or remove `fsdp_version`",
            severity="warning",
        )


@rule("R110", "quantized weights that FSDP2 can't shard", source=_VALIDATION)
def fsdp2_with_quantized(facts: Facts) -> Iterator[Diagnostic]:
    """FSDP2 shards each parameter by itself, which packed weights only partly support: preference trainers cannot
    rebuild their reference model from them, and loading on rank 0 alone (`cpu_ram_efficient_loading`) quantizes there
    and nowhere else, so that the ranks disagree about shapes and wait for each other for ever.
    """
    if fsdp_version(facts) != 2:
        return
    if facts.get("rl") in ("dpo", "kto", "orpo", "ipo"):
        for key in ("load_in_4bit", "load_in_8bit"):
            if facts.has(key):
                yield facts.report(
                    "R110",
                    key,
                    f"`{key}` does not work with FSDP2 in `rl: {facts.get('rl')}`",
                    help="replace `fsdp_config` and `fsdp_version` by `deepspeed: zero2`",
                )
    elif facts.has("load_in_4bit") and facts.has("fsdp_config.cpu_ram_efficient_loading"):
        yield facts.report(
            "R110",
            "fsdp_config.cpu_ram_efficient_loading",
            "`cpu_ram_efficient_loading` does not work with `load_in_4bit`",
            label="only rank 0 would quantize",
            help="set `cpu_ram_efficient_loading: false`",
        )


@rule("R112", "parallel sizes that do not fit the box", source="https://docs.axolotl.ai/docs/nd_parallelism.html")
def parallel_sizes(facts: Facts) -> Iterator[Diagnostic]:
    """Tensor and context parallel groups are made of whole GPUs: their sizes multiplied have to divide the number of
    GPUs, and what remains is data parallel. Otherwise no device mesh of that shape exists and every rank stops as it
    starts. Sharding over `dp_shard_size` devices is FSDP's work and needs an `fsdp_config`.
    """
    keys = [k for k in ("tensor_parallel_size", "context_parallel_size") if facts.get(k, 1) > 1]
    size = 1
    for key in keys:
        size *= facts.get(key)
    gpus = facts.ranks
    if not facts.box.gpus:
        return  # on a CPU the runner starts as many processes as it takes
    if keys and gpus % size:
        shown = " times ".join(f"`{k}`" for k in keys)
        yield facts.report(
            "R112",
            keys[0],
            f"{shown} must divide the number of GPUs, and {size} does not divide {gpus}",
            label=f"box `{facts.box.name}` has {facts.box.total_gpus}",
            help=f"lower {'it' if len(keys) == 1 else 'one of them'}, or choose a larger `box`",
        )
    elif facts.get("dp_shard_size", 1) > 1 and gpus // size > 1 and not fsdp_version(facts):
        yield facts.report(
            "R112",
            "dp_shard_size",
            "`dp_shard_size` needs FSDP",
            help="add `fsdp_version: 2` and `fsdp_config`, or remove `dp_shard_size`",
        )


@rule(
    "R113",
    "context parallelism without flash attention",
    source="https://docs.axolotl.ai/docs/sequence_parallelism.html",
)
def context_parallel_attention(facts: Facts) -> Iterator[Diagnostic]:
    """Context parallelism passes keys and values around the GPUs in a ring. The library for it, ring-flash-attn, takes
    the place of FlashAttention 2 and of no other kernel, and handles packed rows one at a time.
    """
    key = "context_parallel_size" if facts.has("context_parallel_size") else "sequence_parallel_degree"
    if facts.get(key, 1) <= 1 or facts.has("use_glm_dsa_kernels"):
        return
    attention = facts.get("attn_implementation") or attention_of(facts)
    if attention != "flash_attention_2" and "attn_implementation" not in facts.refused:
        yield facts.report(
            "R113",
            key,
            f"`{key}` needs FlashAttention 2",
            label="ring attention replaces that kernel and no other",
            help="set `attn_implementation: flash_attention_2`",
        )
    elif facts.has("sample_packing") and facts.get("micro_batch_size", 1) > 1:
        yield facts.report(
            "R113",
            "micro_batch_size",
            "context parallelism takes packed rows one at a time",
            label=f"{facts.get('micro_batch_size')} at a time here",
            help="set `micro_batch_size: 1` and raise `gradient_accumulation_steps` in its place",
        )


@rule(
    "R114",
    "tensor parallelism with tied embeddings",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/loaders/utils.py",
)
def tensor_parallel_tied(facts: Facts) -> Iterator[Diagnostic]:
    """Where input and output embeddings are one tensor, tensor parallelism would have to split it in two directions
    at once. Axolotl refuses such a model when it reads the config.
    """
    size = facts.get("tensor_parallel_size", 1)
    if size > 1 and facts.model is not None and facts.model.config.get("tie_word_embeddings") is True:
        yield facts.report(
            "R114",
            "tensor_parallel_size",
            "`tensor_parallel_size` does not work with a model whose embeddings are tied",
            label=f"`{printable(facts.model.name)}` sets `tie_word_embeddings`",
            help="remove `tensor_parallel_size`, and shard with `deepspeed` where one GPU is too small",
        )


@rule(
    "R115",
    "tensor parallelism with DeepSpeed",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/train.py",
)
def tensor_parallel_deepspeed(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl hands `tensor_parallel_size` on to DeepSpeed's AutoTP, and at the end saves the model from rank 0, which
    holds only its part of every matrix: what is left does not load. Seen with Axolotl 0.19 and DeepSpeed 0.18 on two
    ranks, whose losses were not those of one process with the same weights either.
    """
    if facts.get("tensor_parallel_size", 1) > 1 and facts.has("deepspeed"):
        yield facts.report(
            "R115",
            "deepspeed",
            "`deepspeed` and `tensor_parallel_size` can't be used together",
            label="rank 0 would save its part of each matrix as the model",
            help="remove `deepspeed`; to divide what tensor parallelism leaves whole, set `fsdp_version: 2` and "
            "`fsdp_config`",
        )
