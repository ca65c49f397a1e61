"""Rules about weights and caches in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_HARDWARE = "https://docs.vllm.ai/en/latest/features/quantization/"
_ONLINE = "https://docs.vllm.ai/en/latest/features/quantization/online/"
# least compute capability, from each method's `get_min_capability` in vLLM 0.32
LEAST = {
    "awq": 75, "auto_awq": 75, "awq_marlin": 75, "auto_gptq": 60, "gptq": 60, "gptq_marlin": 60, "fp8": 75,
    "compressed-tensors": 70, "experts_int8": 80, "fbgemm_fp8": 80, "fp_quant": 100, "humming": 75, "modelopt": 80,
    "modelopt_fp4": 75, "modelopt_mxfp8": 80, "moe_wna16": 70, "mxfp4": 80, "torchao": 75, "fp8_per_tensor": 75,
    "fp8_per_channel": 75, "fp8_per_block": 75, "mxfp8": 75, "int8_per_channel_weight_only": 75,
    "nvfp4_per_token": 100,
}  # fmt: skip
# from here on a GPU multiplies in these formats; before, weights are unpacked to 16 bits
UNITS = {"fp8": 89, "modelopt": 89, "fp8_per_tensor": 89, "fp8_per_channel": 89, "fp8_per_block": 89}
UNITS |= {"modelopt_fp4": 100, "mxfp4": 100, "modelopt_mxfp8": 100, "mxfp8": 100}
_CACHES = {"nvfp4": 100, "nvfp4_4over6": 100, "nvfp4_ds_mla": 100}
GENERATIONS = {60: "Pascal", 70: "Volta", 75: "Turing", 80: "Ampere", 89: "Ada", 90: "Hopper", 100: "Blackwell"}
# 16-bit checkpoints are quantized while they are loaded
WHILE_LOADING = (
    "fp8_per_tensor", "fp8_per_channel", "fp8_per_block", "mxfp8", "mxfp4", "int8_per_channel_weight_only",
    "nvfp4_per_token", "experts_int8", "online", "torchao", "humming",
)  # fmt: skip
# what a checkpoint's `quant_method` is called -> what `quantization` may then be
READ_BY = {
    "awq": ("awq", "auto_awq", "awq_marlin", "moe_wna16", "humming"),
    "gptq": ("gptq", "auto_gptq", "gptq_marlin", "moe_wna16", "humming"),
    "modelopt": ("modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed"),
}
DROPPED = "bitsandbytes"


@rule("R905", "a quantization that the GPU has no units for", source=_HARDWARE)
def hardware(facts: Facts) -> Iterator[Diagnostic]:
    """Each format of numbers came with a generation of GPUs: FP8 with Ada and Hopper (compute capability 8.9), NVFP4
    with Blackwell (10.0). On older ones vLLM refuses, or keeps weights small and multiplies in 16 bits by the Marlin
    kernels: memory is saved, arithmetic is not.
    """
    has = _capability(facts.box.compute_capability)
    if not facts.box.gpus or has is None:
        return
    gpu = f"`{facts.box.gpu}` is of compute capability {has // 10}.{has % 10}"
    for key, table in (("quantization", LEAST), ("kv_cache_dtype", _CACHES)):
        method = facts.get(key)
        least = table.get(str(method), 0)
        if has < least:
            yield facts.report(
                "R905",
                key,
                f"`{key}: {method}` needs {GENERATIONS[least]} or later",
                note=f"{gpu}, and {least // 10}.{least % 10} is needed",
                help=_instead(key, has),
            )
        elif key == "quantization" and has < UNITS.get(str(method), 0):
            yield facts.report(
                "R905",
                key,
                f"`quantization: {method}` saves memory here, but no arithmetic",
                note=f"{gpu}; units for it came with {GENERATIONS[UNITS[str(method)]]}",
                help="keep it for the memory; 4-bit weights (AWQ, GPTQ) save more of it",
                severity="warning",
            )


def _capability(name: str) -> int | None:
    digits = name.removeprefix("sm_").rstrip("af")
    return int(digits) if digits.isdigit() else None


def _instead(key: str, has: int) -> str:
    if key == "kv_cache_dtype":
        return "use `fp8`, or remove it"
    return "use `fp8_per_channel`" if has >= 75 else "remove it"


@rule("R906", "a quantization that the checkpoint doesn't have", source=_ONLINE)
def checkpoint(facts: Facts) -> Iterator[Diagnostic]:
    """How a checkpoint is quantized stands in its config, where vLLM finds it; another method in the recipe is refused.
    Weights in 16 bits can be quantized while they are loaded, by methods that say so: `fp8` alone is no longer one of
    them. bitsandbytes has left vLLM.
    """
    method = facts.get("quantization")
    if facts.model is None:
        return
    stored = facts.model.config.get("quantization_config")
    has = str(stored.get("quant_method", "")) if isinstance(stored, dict) else ""
    if has == DROPPED:
        yield facts.report(
            "R906",
            "model",
            "vLLM no longer loads what bitsandbytes quantized",
            label="its weights are in that format",
            help="serve the 16-bit model with `quantization: fp8_per_channel`, or quantize it to AWQ or GPTQ",
        )
    elif has and method and method not in READ_BY.get(has, (has,)):
        yield facts.report(
            "R906",
            "quantization",
            f"the checkpoint is quantized by `{has}` already, not by `{method}`",
            help="remove `quantization`: it is found in the checkpoint",
        )
    elif not has and method and method not in WHILE_LOADING:
        help = "remove it, or name a checkpoint that is quantized so"
        if method == "fp8":
            help = "set `quantization: fp8_per_channel`, which quantizes while loading"
        yield facts.report(
            "R906", "quantization", f"the checkpoint has 16-bit weights, which `{method}` does not quantize", help=help
        )
