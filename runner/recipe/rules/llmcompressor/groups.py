"""Rules about weights that share a scale."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.architecture import Architecture
from runner.facts.schemes import SCHEMES, group_of
from runner.recipe.rules import Facts, rule

_VALIDATION = (
    "https://github.com/vllm-project/llm-compressor/blob/main/src/llmcompressor/modifiers/quantization/"
    "group_size_validation.py"
)
_MARLIN = "https://github.com/vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/utils/marlin_utils.py"
_SIZES = (128, 64, 32)


@rule("R920", "groups that don't divide a row", source=_VALIDATION)
def rows(facts: Facts) -> Iterator[Diagnostic]:
    """In W4A16 and its like, `group_size` weights of a row share a scale. A row that is no multiple of it leaves a
    group that is cut short, for which no kernel is written: llm-compressor refuses it once the model is loaded.
    """
    group, architecture = _group(facts), _architecture(facts)
    if not group or architecture is None:
        return
    for name, width in _widths(architecture).items():
        if width > group and width % group:
            fitting = _fitting([*_widths(architecture).values()])
            yield facts.report(
                "R920",
                "group_size" if facts.has("group_size") else "scheme",
                f"groups of {group} don't divide the {width:,} of `{name}`",
                label=f"{width % group} weights are left over",
                help=f"set `group_size: {fitting}`" if fitting else "choose a scheme without groups, such as `W8A8`",
            )
            return


@rule("R921", "groups that end in another GPU", source=_MARLIN)
def parts(facts: Facts) -> Iterator[Diagnostic]:
    """Served with tensor parallelism, the output projections of attention and MLP are cut along their rows. Each GPU's
    part must be whole groups, or vLLM finds no kernel for it and refuses to start: long after the model was quantized.
    """
    group, architecture, ways = _group(facts), _architecture(facts), int(facts.get("tensor_parallel_size", 1))
    if not group or architecture is None or ways == 1:
        return
    widths = _widths(architecture)
    if any(width > group and width % group for width in widths.values()):
        return  # told as R920
    cut = {name: width for name, width in widths.items() if name != "hidden_size"}
    for name, width in cut.items():
        if width % ways or (width // ways) % group:
            fitting = _fitting([*widths.values(), *(w // ways for w in cut.values())])
            yield facts.report(
                "R921",
                "tensor_parallel_size",
                f"{ways} GPUs share the {width:,} of `{name}`, and {width / ways:,g} is no multiple of {group}",
                help=f"set `group_size: {fitting}`, or serve it on fewer GPUs" if fitting else "serve it on fewer GPUs",
            )
            return


@rule(
    "R922",
    "a group size without groups",
    source="https://docs.vllm.ai/projects/llm-compressor/en/latest/",
    severity="warning",
)
def no_groups(facts: Facts) -> Iterator[Diagnostic]:
    """FP8 and W8A8 have a scale for each row or one for all; bitsandbytes' NF4 has blocks of 64 and NVFP4 groups of 16,
    which their kernels are written for. `group_size` changes nothing there.
    """
    scheme = facts.get("scheme")
    if scheme in SCHEMES and facts.has("group_size") and not _own_groups(scheme):
        yield facts.report(
            "R922",
            "group_size",
            f"`group_size` means nothing to `{scheme}`",
            help="remove it, or choose `W4A16`, `W4A16_ASYM` or `W8A16`",
            severity="warning",
        )


def _own_groups(scheme: str) -> bool:
    """Whether the size of its groups can be chosen."""
    return SCHEMES[scheme].integer and SCHEMES[scheme].group > 0


def _group(facts: Facts) -> int:
    scheme = facts.get("scheme")
    if scheme not in SCHEMES or "group_size" in facts.refused or SCHEMES[scheme].bitsandbytes:
        return 0
    chosen = facts.get("group_size") if _own_groups(scheme) else None
    return group_of({"scheme": scheme, "group_size": chosen})


def _architecture(facts: Facts) -> Architecture | None:
    try:
        return facts.model.architecture if facts.model is not None else None
    except ValueError:
        return None  # a config that makes no sense, which loading will tell


def _widths(architecture: Architecture) -> dict[str, int]:
    """How long a row of each kind of matrix is, by the config's name for it."""
    stack = architecture.decoder
    return {
        "hidden_size": stack.hidden,
        "num_attention_heads x head_dim": stack.heads * stack.head_dim,
        "intermediate_size": stack.inner,
    }


def _fitting(widths: list[int]) -> int | None:
    return next((size for size in _SIZES if not any(width % size for width in widths)), None)
