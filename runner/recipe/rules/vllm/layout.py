"""Rules about how a model lies on the GPUs of its box."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.served_heads import uneven

_PARALLEL = "https://docs.vllm.ai/en/latest/serving/parallelism_scaling/"


@rule("R902", "heads that tensor parallel doesn't divide", source=_PARALLEL)
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


@rule("R903", "more GPUs than the box has", source=_PARALLEL)
def gpus(facts: Facts) -> Iterator[Diagnostic]:
    """Each replica has GPUs of its own: tensor parallel times pipeline stages times engines inside it. An endpoint is
    on one node.
    """
    if not facts.box.gpus:
        return
    sizes = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    each = 1
    for key in sizes:
        each *= facts.get(key, 1)
    replicas = facts.get("replicas", 1)
    if each * replicas <= facts.box.gpus:
        return
    largest = max(sizes, key=lambda key: facts.get(key, 1))
    room = facts.box.gpus // each
    at = "replicas" if room and facts.has("replicas") else largest
    what = f"{replicas} replicas on {each} GPUs each" if replicas > 1 else f"a replica on {each} GPUs"
    help = f"set `replicas: {room}`" if at == "replicas" else f"make `{largest}` smaller, or name a larger `box`"
    node = " on a node" if facts.box.nodes > 1 else ""
    yield facts.report("R903", at, f"{what} won't go on the {facts.box.gpus} of `{facts.box.name}`{node}", help=help)
