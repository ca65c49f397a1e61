"""Rule about sharing a model's heads among the GPUs of a tensor parallel group while it trains."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.boxes import MOST_GPUS
from runner.recipe.rules import Facts, rule


@rule(
    "R864",
    "heads that tensor parallelism doesn't divide",
    source="https://huggingface.co/docs/transformers/perf_infer_gpu_multi",
)
def heads(facts: Facts) -> Iterator[Diagnostic]:
    """In training each GPU of a tensor parallel group takes an equal number of attention heads, and of heads of keys
    and values as well: transformers cuts their projections into equal columns, and where a head falls on two GPUs the
    shapes no longer fit in the first forward pass.
    """
    ways = facts.get("tensor_parallel_size", 1)
    if facts.model is None or not isinstance(ways, int) or ways < 2:
        return
    try:
        stack = facts.model.architecture.decoder
    except (ValueError, LookupError, StopIteration):
        return
    for count, what in ((stack.heads, "attention heads"), (stack.kv_heads, "heads of keys and values")):
        if count % ways:
            fitting = [n for n in range(2, min(ways, MOST_GPUS + 1)) if not stack.heads % n and not stack.kv_heads % n]
            yield facts.report(
                "R864",
                "tensor_parallel_size",
                f"{count} {what} can't be shared by {ways} GPUs",
                help=f"set `tensor_parallel_size: {fitting[-1]}`" if fitting else "remove `tensor_parallel_size`",
            )
            return
