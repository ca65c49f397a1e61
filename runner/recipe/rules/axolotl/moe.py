"""Rules about mixtures of experts."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import LEAVES

_BLOCKS = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/common/architectures.py"
# families whose block Axolotl 0.19 looks for under a name that transformers 5.16 does not have
_GONE = {"deepseek_v2": "DeepseekV2Moe", "afmoe": "AfmoeSparseMoeBlock"}


@rule(
    "R170",
    "ZeRO-3 over experts that are not kept together",
    source="https://github.com/deepspeedai/DeepSpeed/pull/4966",
    severity="warning",
)
def experts_need_leaves(facts: Facts) -> Iterator[Diagnostic]:
    """ZeRO-3 gathers a layer's weights when it runs and expects every rank to run the same layers in the same order.
    Experts run only where tokens are sent to them, so a block of experts has to be gathered as one leaf, or ranks can
    wait for each other for ever. Axolotl marks the families it knows, DeepSpeed a few more; for another one the recipe
    has to name the block.
    """
    model = facts.model
    if facts.zero_stage != 3 or model is None or not model.experts:
        return
    if model.model_type in LEAVES or model.model_type in _GONE or facts.has("deepspeed.zero_optimization.leaf_module"):
        return
    yield facts.report(
        "R170",
        "deepspeed",
        f"ZeRO-3 does not know which blocks of `{printable(model.model_type)}` hold experts",
        label="ranks that use different experts can wait for each other for ever",
        help="give `deepspeed` as a mapping with `zero_optimization: {stage: 3, leaf_module: {classes: [...]}}`, "
        "or use `zero2`",
        severity="warning",
    )


@rule("R171", "ZeRO-3 with a family whose block has another name", source=_BLOCKS)
def leaf_is_gone(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl 0.19 marks the expert blocks of known families for ZeRO-3 by class name. For DeepSeek-V2 and AFMoE it
    looks for the name in the model authors' own code; in transformers the class is called otherwise, none is found,
    and DeepSpeed stops with "leaf_module_classes must be a list of types or names, got [None]".
    """
    family = facts.model.model_type if facts.model else ""
    if facts.zero_stage == 3 and family in _GONE and not facts.has("trust_remote_code"):
        yield facts.report(
            "R171",
            "deepspeed",
            f"ZeRO-3 does not work with `{family}` in this Axolotl",
            label=f"it looks for the block `{_GONE[family]}` under another name",
            help="set `deepspeed: zero2`, or shard with `fsdp_version: 2`",
        )


@rule(
    "R172",
    "quantized experts without what they need",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/config.py",
)
def quantized_experts(facts: Facts) -> Iterator[Diagnostic]:
    """`quantize_moe_experts` packs the fused tensors of experts, which bitsandbytes by itself leaves in 16 bits. That
    makes them a frozen base like any other quantized weight: it takes LoRA or QLoRA, a number of bits, and targets
    that are tensors, since fused experts are no linear layers.
    """
    if not facts.has("quantize_moe_experts"):
        return
    if facts.has("lora_target_linear"):
        yield facts.report(
            "R172",
            "lora_target_linear",
            "`lora_target_linear` does not work with `quantize_moe_experts`",
            label="fused experts are no linear layers",
            help="name attention layers in `lora_target_modules` and experts in `lora_target_parameters`",
        )
    if facts.adapter not in ("lora", "qlora") and "adapter" not in facts.refused:
        yield facts.report(
            "R172",
            "quantize_moe_experts",
            "`quantize_moe_experts` needs `adapter: lora` or `adapter: qlora`",
            help="add `adapter: qlora` and `load_in_4bit: true`, or remove `quantize_moe_experts`",
        )
    elif facts.lacks("load_in_4bit") and facts.lacks("load_in_8bit"):
        yield facts.report(
            "R172",
            "quantize_moe_experts",
            "`quantize_moe_experts` needs `load_in_4bit` or `load_in_8bit`",
            help="add `load_in_4bit: true`",
        )
