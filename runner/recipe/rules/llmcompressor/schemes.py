"""Rules about schemes: what computes in them, and which methods and keys go with them."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.boxes import GENERATIONS
from runner.facts.schemes import OF_METHOD, SCHEMES, method_of
from runner.recipe.rules import Facts, rule

_HARDWARE = "https://docs.vllm.ai/en/latest/features/quantization/"
_AWQ = "https://github.com/vllm-project/llm-compressor/blob/main/src/llmcompressor/modifiers/transform/awq/base.py"
_DOCS = "https://docs.vllm.ai/projects/llm-compressor/en/latest/"


@rule("R923", "a scheme that the GPU can't run", source=_HARDWARE)
def hardware(facts: Facts) -> Iterator[Diagnostic]:
    """A GPU multiplies only in the formats it has: FP8 came with Ada (compute capability 8.9), FP4 with Blackwell
    (10.0). Below that vLLM unpacks the weights for 16-bit products where it has a kernel: memory is saved, time is not.
    NVFP4 is for 4-bit products; on older GPUs W4A16 is as small, and made for unpacking.
    """
    scheme, has = SCHEMES.get(str(facts.get("scheme"))), _capability(facts)
    if scheme is None or not has or has >= scheme.compute_capability:
        return
    name, box = facts.get("scheme"), facts.box
    older = f"`{box.name}` has {box.gpu} ({_dotted(has)})"
    needs = f"`{name}` needs compute capability {_dotted(scheme.compute_capability)} to multiply in"
    since = GENERATIONS.get(scheme.compute_capability, "")
    if has < scheme.weight_only or scheme.activations < 8:
        yield facts.report(
            "R923",
            "scheme",
            f"{needs}, {older}",
            label=f"came with {since.capitalize()}" if since else "",
            help="set `scheme: FP8_DYNAMIC` or `scheme: W4A16`"
            if has >= 89
            else "set `scheme: W4A16` or `scheme: W8A8`",
        )
        return
    yield facts.report(
        "R923",
        "scheme",
        f"{needs}, {older}",
        label="served with weights unpacked, products in 16 bits",
        help="keep it for its size alone, or set `scheme: W8A8`, which is faster there",
        severity="warning",
    )


@rule("R924", "a method that doesn't go with the scheme", source=_AWQ)
def method(facts: Facts) -> Iterator[Diagnostic]:
    """bitsandbytes has one way of its own, while the model is loaded. AWQ scales channels against each other, which one
    scale for a whole tensor can't follow; llm-compressor refuses it. Floats have no columns to make errors good in:
    GPTQ is for integers.
    """
    name, how = facts.get("scheme"), facts.get("method")
    scheme = SCHEMES.get(str(name))
    if scheme is None or how is None:
        return
    fitting = ""
    if scheme.bitsandbytes:
        fitting = "remove `method`: bitsandbytes rounds in its own way"
    elif how == "awq" and name == "FP8":
        fitting = "set `scheme: W4A16_ASYM`, or remove `method`"
    elif how == "gptq" and not scheme.integer:
        fitting = "remove `method`: floats are rounded to the nearest"
    if fitting:
        yield facts.report("R924", "method", f"`method: {how}` can't be used with `scheme: {name}`", help=fitting)


@rule("R925", "keys that nothing listens to", source=_DOCS, severity="warning")
def unused(facts: Facts) -> Iterator[Diagnostic]:
    """GPTQ, AWQ and NF4 have settings of their own, and SmoothQuant moves outliers away from activations that are to be
    quantized: where they are not, it only changes the weights. With another method or scheme these keys do nothing.
    """
    name = facts.get("scheme")
    scheme = SCHEMES.get(str(name))
    if scheme is None or facts.refused & {"method"}:
        return
    how = method_of({"scheme": name, "method": facts.get("method")})
    owners = {key: of for of, keys in OF_METHOD.items() for key in keys}
    for key, of in owners.items():
        if facts.get(key) is not None and how != of:
            yield _ignored(facts, key, f"`method: {of}`", f"set `method: {of}`, or remove it")
    if facts.get("bnb_4bit_use_double_quant") is not None and name != "nf4":
        yield _ignored(facts, "bnb_4bit_use_double_quant", "`scheme: nf4`", "remove it")
    if facts.get("smoothing_strength") is not None and (scheme.activations > 8 or scheme.bitsandbytes):
        yield _ignored(facts, "smoothing_strength", "8-bit activations", "remove it, or set `scheme: W8A8`")


def _ignored(facts: Facts, key: str, wants: str, help: str) -> Diagnostic:
    return facts.report("R925", key, f"`{key}` is only for {wants}", help=help, severity="warning")


def _capability(facts: Facts) -> int:
    """90 for `sm_90`; 0 without an NVIDIA GPU."""
    digits = facts.box.compute_capability.removeprefix("sm_")
    return int(digits) if facts.box.gpus and digits.isdigit() else 0


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
