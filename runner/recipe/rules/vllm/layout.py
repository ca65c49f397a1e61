"""Rules about how a model lies on the GPUs of its box."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.own_servers import PARALLEL, beyond_the_box
from runner.recipe.rules.served_heads import uneven


@rule("R902", "heads that tensor parallel doesn't divide", source=PARALLEL)
def heads(facts: Facts) -> Iterator[Diagnostic]:
    """Each GPU of a tensor parallel group takes an equal number of attention heads, and of heads of keys and values an
    equal number or a copy of one. vLLM ends where they don't come out even.
    """
    ways = facts.get("tensor_parallel_size", 1)
    if facts.model is None or ways < 2:
        return
    told = uneven(facts.model, ways)
    if told:
        yield facts.report(
            "R902",
            "tensor_parallel_size",
            f"{told[0]} can't be shared by {ways} GPUs",
            help=f"set `tensor_parallel_size: {told[1]}`",
        )


@rule("R903", "more GPUs than the box has", source=PARALLEL)
def gpus(facts: Facts) -> Iterator[Diagnostic]:
    """Each replica has GPUs of its own: tensor parallel times pipeline stages times engines inside it. An endpoint is
    on one node.
    """
    told = beyond_the_box(facts)
    if told is not None:
        yield facts.report("R903", told.key, told.what, help=told.help)
