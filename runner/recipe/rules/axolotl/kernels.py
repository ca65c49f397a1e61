"""Rule about kernels of which there can be one."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_CROSS_ENTROPY = (
    "cut_cross_entropy",
    "chunked_cross_entropy",
    "liger_cross_entropy",
    "liger_fused_linear_cross_entropy",
)


@rule("R199", "two cross-entropy kernels", source="https://docs.axolotl.ai/docs/custom_integrations.html")
def two_cross_entropies(facts: Facts) -> Iterator[Diagnostic]:
    """Each of these replaces the same step, from the last hidden state to the loss. Axolotl refuses more than one."""
    used = [key for key in _CROSS_ENTROPY if facts.has(key)]
    if len(used) > 1:
        yield facts.report(
            "R199",
            used[1],
            " and ".join(f"`{key}`" for key in used) + " can't be used together",
            label="each replaces the same step",
            help="keep one of them",
        )
