"""Quantization schemes: how many bits they keep, what they need, and what serves them.

Names are those of llm-compressor's presets (compressed_tensors/quantization/quant_scheme.py) and of bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Method = Literal["rtn", "gptq", "awq"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """`bits` of a weight, `activations` bits of an activation (16: left alone). `group` weights of a row share a scale
    of `scale_bits` (0: a row or the tensor does, which counts nothing). `static` activations have one scale, found by
    calibration. `compute_capability` is the least that multiplies in this format, `weight_only` the least that at
    least unpacks it; `recovery` is what the gate wants where the recipe doesn't say.
    """

    bits: int
    activations: int
    group: int
    scale_bits: float
    integer: bool
    static: bool
    compute_capability: int
    weight_only: int
    recovery: float
    bitsandbytes: bool = False


# Marlin kernels unpack FP8 and integers for 16-bit products from Ampere (8.0) on; FP8 products came with Ada (8.9), FP4
# ones with Blackwell (10.0): vLLM's table of supported hardware. INT8 products are as old as Turing (7.5).
SCHEMES: dict[str, Scheme] = {
    "FP8_DYNAMIC": Scheme(8, 8, 0, 0, False, False, 89, 80, 0.99),
    "FP8": Scheme(8, 8, 0, 0, False, True, 89, 80, 0.99),
    "FP8_BLOCK": Scheme(8, 8, 0, 0, False, False, 89, 80, 0.99),
    "W8A8": Scheme(8, 8, 0, 0, True, False, 75, 75, 0.97),
    "W8A16": Scheme(8, 16, 128, 16, True, False, 80, 80, 0.97),
    "W4A16": Scheme(4, 16, 128, 16, True, False, 80, 80, 0.95),
    "W4A16_ASYM": Scheme(4, 16, 128, 20, True, False, 80, 80, 0.95),
    "NVFP4": Scheme(4, 4, 16, 8, False, True, 100, 80, 0.95),
    "NVFP4A16": Scheme(4, 16, 16, 8, False, False, 80, 80, 0.95),
    # double quantization: bitsandbytes/functional.py, 8 bits for 64 weights and 32 for 256 of those
    "nf4": Scheme(4, 16, 64, 8.125, False, False, 75, 75, 0.95, bitsandbytes=True),
    "int8": Scheme(8, 8, 0, 0, True, False, 75, 75, 0.97, bitsandbytes=True),
}  # fmt: skip
# bitsandbytes (functional.py): the scale of 64 weights where it is not quantized itself
NF4_SCALE_BITS = 32.0
# keys that only one method or scheme listens to
OF_METHOD = {"gptq": ("dampening_frac", "block_size", "actorder"), "awq": ("duo_scaling", "n_grid")}


def scheme_of(values: Mapping[str, Any]) -> Scheme:
    return SCHEMES[values["scheme"]]


def method_of(values: Mapping[str, Any]) -> str:
    """`rtn`, `gptq`, `awq` or `bitsandbytes`."""
    scheme = scheme_of(values)
    if scheme.bitsandbytes:
        return "bitsandbytes"
    return str(values.get("method") or ("gptq" if scheme.integer else "rtn"))


def needs_calibration(values: Mapping[str, Any]) -> bool:
    """GPTQ, AWQ and SmoothQuant look at activations, static scales are made from them."""
    if scheme_of(values).bitsandbytes:
        return False
    return method_of(values) != "rtn" or scheme_of(values).static or values.get("smoothing_strength") is not None


def group_of(values: Mapping[str, Any]) -> int:
    """Weights that share a scale; 0 where a row or more does."""
    scheme = scheme_of(values)
    return int(values.get("group_size") or scheme.group) if scheme.group else 0


def bits_per_weight(values: Mapping[str, Any]) -> float:
    """Of a quantized matrix, with its scales."""
    scheme, group = scheme_of(values), group_of(values)
    scale = scheme.scale_bits
    if values["scheme"] == "nf4" and values.get("bnb_4bit_use_double_quant") is False:
        scale = NF4_SCALE_BITS
    return scheme.bits + (scale / group if group else 0.0)
