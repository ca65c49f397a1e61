"""Recipe -> Workload: what Axolotl's keys mean for memory and time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from runner.engines import deepspeed_pipeline
from runner.engines.axolotl import ranks
from runner.facts.architecture import Architecture
from runner.facts.boxes import Box
from runner.facts.families import architecture_of
from runner.facts.modules import adapted, named_modules, unfrozen
from runner.plan.keys import fsdp_section, section
from runner.plan.optimizers import find_optimizer
from runner.plan.pipeline import translated
from runner.plan.sharding import read_sharding
from runner.plan.trainer_names import in_axolotls_names
from runner.plan.workload import (
    Adapter,
    Attention,
    Checkpointing,
    Generation,
    Kernels,
    Loss,
    Objective,
    Quantization,
    Workload,
)
from runner.recipe.resolve import Recipe
from runner.recipe.smoke import shrunk

# bitsandbytes (functional.py): a 32-bit scale per block of 64 weights; doubly quantized, 8 bits per block and again a
# 32-bit scale per 256 blocks
NF4 = Quantization("nf4", 4, 64, 4)
NF4_DOUBLE = Quantization("nf4-double", 4, 64, 1 + 4 / 256)
INT8 = Quantization("int8", 8, 4096, 4)  # one scale per row; rows are thousands wide
# GPTQ in groups of 128: a 16-bit scale and a 4-bit zero point
GPTQ = Quantization("gptq", 4, 128, 2.5)

_PAIRED = ("dpo", "ipo", "simpo", "orpo")
_WITH_REFERENCE = ("dpo", "ipo", "kto", "grpo")
# Axolotl's own defaults where a recipe is silent (utils/schemas/config.py, training.py, peft.py of 0.19)
_RANK = 8
_SEQUENCE_LEN = 512


class Unplannable(Exception):
    """The model behind a recipe is not known without the network."""


def planned_config(recipe: Recipe) -> dict[str, Any]:
    """The transformers config of the model that will really run. Raises Unplannable."""
    if recipe.architecture is not None:
        return recipe.architecture  # with what `--set` changed of it, in smoke too
    if recipe.tiny is not None:
        return recipe.tiny.config
    if recipe.model is None:
        raise Unplannable(str(recipe.values.get("base_model", "")))
    return shrunk(recipe.model.config) if recipe.profile == "smoke" else recipe.model.config


def read_workload(recipe: Recipe, box: Box | None = None) -> Workload:
    """`box` instead of the recipe's own. Raises Unplannable, and ValueError where the config makes no sense."""
    box, recipe = box or recipe.box, in_axolotls_names(recipe)
    count = (deepspeed_pipeline.ranks if recipe.engine == "deepspeed_pipeline" else ranks)(recipe, box)
    return workload_of(recipe.kind, recipe.values, architecture_of(planned_config(recipe)), box, count)


def _pipeline(given: dict[str, Any], architecture: Architecture, box: Box, count: int) -> Workload:
    """As DeepSpeed's PipelineEngine runs it: weights in 16 bits without autocast, and beside them BF16_Optimizer's
    32-bit weights, moments, and sums of gradients (runtime/bf16_optimizer.py of 0.18)."""
    values = {**deepspeed_pipeline.DEFAULTS, **given}
    stages = int(values["pipeline_parallel_size"])
    w = workload_of("pretrain", translated(values), architecture, box, max(1, count // stages))
    summed = w.compute_bytes == 2
    return replace(
        w,
        ranks=count,
        stages=stages,
        partition=str(values["partition_method"]),
        checkpoint_every=max(1, int(values["activation_checkpoint_interval"])),
        autocast=False,
        grad_bytes=6 if summed else 4,
        sharding=replace(w.sharding, summed=summed),
    )


def workload_of(kind: str, values: dict[str, Any], architecture: Architecture, box: Box, count: int) -> Workload:
    """From an engine's keys alone, Axolotl's or a pipeline's, for `count` training processes."""
    if "pipeline_parallel_size" in values:
        return _pipeline(values, architecture, box, count)
    objective = _objective(kind, values)
    quantization = _quantization(values)
    adapter = _adapter(values, architecture)
    mixed = _is_true(values, "bf16", "bfloat16") or bool(values.get("fp16"))
    low = (mixed or values.get("bf16") == "full") and box.gpus > 0
    autocast = mixed and box.gpus > 0
    attention, loss = _attention(values), _loss(values)
    if architecture.model_type == "mpt" and attention == "flash":
        # transformers' MPT has no flash attention: this is llm-foundry's, whose norms stay in 16 bits and whose loss is
        # flash-attn's fused one (llmfoundry/models/layers/norm.py, models/mpt/modeling_mpt.py)
        autocast, loss = False, "fused" if loss == "stock" else loss
    tensor, context = _size(values, "tensor_parallel_size"), _size(values, "context_parallel_size")
    sharding = read_sharding(
        values, count, tensor, architecture, mixed=mixed and box.gpus > 0, adapter=adapter is not None
    )
    wide = 4 if sharding.engine == "fsdp" and sharding.master_bytes and adapter is None else 2
    micro = int(values.get("micro_batch_size") or 1)
    return Workload(
        architecture=architecture,
        box=box,
        objective=objective,
        reference=_reference(objective, values, adapter),
        head_outputs=1 if objective in ("reward", "prm") else architecture.vocab,
        micro_batch=micro,
        accumulation=int(values.get("gradient_accumulation_steps") or 1),
        sequences=micro * (2 if objective in (*_PAIRED, "reward") else 1),
        seq_len=max(1, int(values.get("sequence_len") or _SEQUENCE_LEN)),
        ranks=count,
        tensor_parallel=tensor,
        context_parallel=context,
        sharding=sharding,
        weight_bytes=(wide if low else 4),
        compute_bytes=2 if low else 4,
        grad_bytes=(wide if low else 4),
        autocast=autocast,
        quantization=quantization,
        adapter=adapter,
        optimizer=find_optimizer(str(values.get("optimizer") or "adamw_torch_fused")),
        checkpointing=_checkpointing(values),
        offload_activations=bool(values.get("activation_offloading")),
        attention=attention,
        packed=bool(values.get("sample_packing")),
        loss=loss,
        kernels=_kernels(values),
        generation=_generation(values, objective),
        images=int(kind == "multimodal"),
        frozen=frozen(values, architecture),
    )


def frozen(values: dict[str, Any], architecture: Architecture) -> frozenset[tuple[str | None, str]]:
    """What `unfrozen_parameters` does not name, of the families whose names are known."""
    patterns = values.get("unfrozen_parameters")
    if not patterns:
        return frozenset()
    return frozenset(
        (each.stack.name if each.stack else None, each.weight.name)
        for each in named_modules(architecture)
        if not unfrozen(f"{each.name}.weight", patterns)
    )


def _is_true(values: dict[str, Any], *keys: str) -> bool:
    return any(values.get(key) in (True, "auto", "true") for key in keys)


def _size(values: dict[str, Any], key: str) -> int:
    return max(1, int(values.get(key) or 1))


def _objective(kind: str, values: dict[str, Any]) -> Objective:
    if values.get("reward_model"):
        return "reward"
    if values.get("process_reward_model"):
        return "prm"
    known: dict[str, Objective] = {
        "dpo": "dpo", "ipo": "ipo", "simpo": "simpo", "orpo": "orpo", "kto": "kto", "grpo": "grpo", "gdpo": "grpo",
    }  # fmt: skip
    if values.get("rl") in known:
        return known[values["rl"]]
    scratch = kind in ("pretrain", "causal-lm", "masked-lm") or values.get("objective") == "span-corruption"
    return "pretrain" if scratch else "sft"


def _reference(objective: str, values: dict[str, Any], adapter: Adapter | None) -> Literal["none", "adapter", "copy"]:
    """TRL's: an adapter switched off is its own reference; without one the weights are kept twice."""
    if objective not in _WITH_REFERENCE or values.get("precompute_ref_log_probs"):
        return "none"
    if objective == "grpo" and not section(values, "trl").get("beta"):
        return "none"
    return "adapter" if adapter is not None else "copy"


def _quantization(values: dict[str, Any]) -> Quantization | None:
    if values.get("load_in_4bit"):
        # Axolotl sets double quantization itself unless it is told otherwise (loaders/model.py)
        double = section(values, "bnb_config_kwargs").get("bnb_4bit_use_double_quant", True)
        return NF4_DOUBLE if double else NF4
    if values.get("load_in_8bit"):
        return INT8
    return GPTQ if values.get("gptq") else None


def _adapter(values: dict[str, Any], architecture: Architecture) -> Adapter | None:
    if values.get("adapter") not in ("lora", "qlora", "dora"):
        return None
    targets = values.get("lora_target_modules")
    linear = bool(values.get("lora_target_linear")) or targets == "all-linear"
    names = tuple(targets) if isinstance(targets, list) else (targets,) if isinstance(targets, str) else ()
    stacks = None
    if isinstance(targets, str) and not linear and (named := named_modules(architecture)):
        found = [each for each in named if each.stack is not None and adapted(each.name, targets)]
        names = tuple(sorted({each.weight.name for each in found}))
        stacks = tuple(sorted({each.stack.name for each in found if each.stack is not None}))
    saved = tuple(values.get("lora_modules_to_save") or ())
    # PEFT trains adapters in 32 bits whatever the base is in, unless told not to (autocast_adapter_dtype)
    wide = 2 if values.get("bf16") == "full" or values.get("peft_autocast_adapter_dtype") is False else 4
    return Adapter(
        rank=int(values.get("lora_r") or _RANK),
        targets=None if linear or not names else names,
        saved=saved,
        dropout=float(values.get("lora_dropout") or 0.0),
        weight_bytes=wide,
        dora=bool(values.get("peft_use_dora")),
        stacks=stacks,
    )


def _checkpointing(values: dict[str, Any]) -> Checkpointing:
    given = values.get("gradient_checkpointing")
    if fsdp_section(values).get("activation_checkpointing"):
        return "full"
    if not given:
        return "none"
    return "selective" if given == "selective" or values.get("selective_checkpointing") else "full"


def _attention(values: dict[str, Any]) -> Attention:
    given = str(values.get("attn_implementation") or "")
    if values.get("flash_attention") or values.get("xformers_attention") or "flash" in given or "/" in given:
        return "flash"
    if given in ("xformers", "sage", "flex_attention", "s2", "fp8") or values.get("flex_attention"):
        return "flash"
    if values.get("eager_attention") or given == "eager":
        return "eager"
    return "sdpa"


def _loss(values: dict[str, Any]) -> Loss:
    if values.get("liger_fused_linear_cross_entropy") or values.get("cut_cross_entropy"):
        return "linear"
    if values.get("chunked_cross_entropy"):
        return "chunked"
    if values.get("liger_cross_entropy"):
        return "fused"
    return "stock"


def _kernels(values: dict[str, Any]) -> Kernels:
    return Kernels(
        norm=bool(values.get("liger_rms_norm") or values.get("liger_layer_norm")),
        mlp=bool(values.get("liger_glu_activation") or values.get("liger_swiglu")),
        rope=bool(values.get("liger_rope")),
        compile=bool(values.get("torch_compile")),
        fp8=bool(values.get("fp8")),
    )


def _generation(values: dict[str, Any], objective: str) -> Generation | None:
    if objective != "grpo":
        return None
    trl = section(values, "trl")
    share = section(values, "vllm").get("gpu_memory_utilization") or trl.get("vllm_gpu_memory_utilization") or 0.3
    return Generation(
        completions=int(trl.get("num_generations") or 8),
        micro_batches=int(trl.get("steps_per_generation") or values.get("gradient_accumulation_steps") or 1),
        new_tokens=int(trl.get("max_completion_length") or 256),
        vllm=bool(trl.get("use_vllm")),
        vllm_share=float(share),
        colocated=trl.get("vllm_mode", "server") == "colocate",
    )
