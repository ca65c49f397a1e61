"""Rule about words and numbers that Axolotl's schema leaves open and its validators do not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

# key -> the words it takes
_WORDS = {
    "large_head_attention": ["auto", "sdpa", "triton_flash"],
    "eval_causal_lm_metrics": ["sacrebleu", "comet", "ter", "chrf", "perplexity"],
    "torch_compile_options": [
        "coordinate_descent_tuning", "coordinate_descent_check_all_directions", "shape_padding", "epilogue_fusion",
        "max_autotune_gemm", "fx_graph_cache", "assume_aligned_inputs", "comprehensive_padding",
        "decompose_mem_bound_mm", "triton.cudagraphs",
    ],
    "expert_backend": ["scattermoe", "sonicmoe", "eager", "builtin"],
    "moe_grouped_backend": ["auto", "marlin", "cutlass", "deepgemm"],
    "nonexpert_quantization": ["none", "bf16", "fp8", "fp8_blockwise", "nf4", "nvfp4"],
    "dsv4_fp4_grouped_mode": ["nvfp4"],
    "dsv4_fp8_nonexpert_mode": ["float8tensor", "bf16"],
}  # fmt: skip
_POSITIVE = (
    "neftune_noise_alpha", "noisy_embedding_alpha", "moe_dequant_chunk_size", "micro_batch_size",
    "gradient_accumulation_steps", "sequence_len",
)  # fmt: skip


@rule(
    "R832",
    "a word or number that the engine does not take",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/config.py",
)
def engine_words(facts: Facts) -> Iterator[Diagnostic]:
    """Keys that the engine's schema takes any text for, or any number, and its validators only a few: metrics, compiler
    options, backends. Names of layers are patterns, and one with a bracket too many is none.
    """
    for key, known in _WORDS.items():
        given = facts.get(key)
        for word in given if isinstance(given, (list, dict)) else () if given is None else (given,):
            if str(word) not in known and str(word).lower() not in known:
                close = nearest_word(str(word), known)
                yield facts.report(
                    "R832",
                    key,
                    f"`{key}` does not take `{printable(str(word))}`",
                    label=f"did you mean `{close}`?" if close else "",
                    help="use " + " or ".join(f"`{w}`" for w in known),
                )
    for key in _POSITIVE:
        number = facts.get(key)
        off = key == "noisy_embedding_alpha" and number == 0
        if isinstance(number, (int, float)) and number <= 0 and not off:
            yield facts.report(
                "R832",
                key,
                f"`{key}` must be more than 0, not {number}",
                help=f"give it a number above 0, or remove `{key}`",
            )
    if isinstance(modules := facts.get("optim_target_modules"), str) and modules != "all_linear":
        yield facts.report(
            "R832",
            "optim_target_modules",
            f"`optim_target_modules` does not take `{printable(modules)}`",
            help="use `all_linear`, or list names of layers",
        )
    for at, node in facts.all("datasets.*.type"):
        if node.value == "_synthetic" and facts.get(f"{at.removesuffix('type')}path") != "synthetic":
            yield facts.report(
                "R832", at, "`type: _synthetic` reads no data", help="set `path: synthetic`, or the type of the data"
            )
    targets = facts.get("lora_target_modules")
    for i, pattern in enumerate(targets if isinstance(targets, list) else ()):
        if isinstance(pattern, str) and not _is_pattern(pattern):
            yield facts.report(
                "R832",
                f"lora_target_modules.{i}",
                f"`{printable(pattern)}` is no pattern",
                help="write a layer's name, such as `q_proj`, or a regular expression",
            )


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
