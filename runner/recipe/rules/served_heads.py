"""Rule about the heads of a model that a run serves for itself: for an evaluation, a judge, a RAG system."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.boxes import MOST_GPUS
from runner.facts.models import Model, find_model
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.own_servers import PARALLEL, beyond_the_box, own_servers


@rule(
    "R862",
    "heads that a run's own server can't share",
    source=PARALLEL,
)
def heads(facts: Facts) -> Iterator[Diagnostic]:
    """A model that is served for an evaluation, a judge or a RAG system is shared by `tensor_parallel_size` GPUs as one
    of kind `serve` is: attention heads in equal numbers, heads of keys and values in equal numbers or as copies of one.
    vLLM ends where they don't come out even, once the run has come to it.
    """
    for at, _ in own_servers(facts):
        ways = facts.get(f"{at}.tensor_parallel_size", 1)
        beside = at.removesuffix("serve") + "model"
        name = facts.get(f"{at}.model") or facts.get(beside)
        if not isinstance(ways, int) or isinstance(ways, bool) or ways < 2 or not isinstance(name, str):
            continue
        if beyond_the_box(facts, f"{at}."):
            continue  # told as R875
        model = find_model(name, facts.root) if "\x00" not in name and not name.startswith("${") else None
        told = uneven(model, ways) if model is not None else None
        if told:
            yield facts.report(
                "R862",
                f"{at}.tensor_parallel_size",
                f"{told[0]} can't be shared by {ways} GPUs",
                help=f"set `tensor_parallel_size: {told[1]}`" if told[1] > 1 else "remove `tensor_parallel_size`",
            )


def uneven(model: Model, ways: int) -> tuple[str, int] | None:
    """What does not come out even over so many GPUs, and the most below that fit."""
    try:
        stack = model.architecture.decoder
    except (ValueError, LookupError, StopIteration):
        return None
    what = stack.unshared(ways)
    if not what:
        return None
    return what, next(n for n in range(min(ways - 1, MOST_GPUS), 0, -1) if not stack.unshared(n))
