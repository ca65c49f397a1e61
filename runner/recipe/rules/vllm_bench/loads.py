"""Shapes, concurrency and rates: cells that can be measured, and mean something."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.models import find_model
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.vllm_bench.endpoints import BENCH, SERVE, entries

LOADS = ("concurrency", "request_rates", "sweep", "offline")
# what a cell's start and end weigh is one part in as many
ROUNDS = 2
# of the server, where nothing is said (engine/arg_utils.py, get_batch_defaults)
MAX_NUM_SEQS = 256


@rule("R963", "a shape that the model does not take", source=SERVE)
def too_long(facts: Facts) -> Iterator[Diagnostic]:
    """A prompt and its answer must fit `max_model_len` together; where that is not given, the positions that the model
    was trained for. The server answers longer requests with an error, and every request of the cell fails."""
    for i, shape in enumerate(facts.get("shapes", ())):
        for _, _, entry in entries(facts):
            if "url" in entry:
                continue
            model = find_model(str(entry.get("model", "")), facts.root)
            given = entry.get("max_model_len")
            longest = given if isinstance(given, int) else model.max_positions if model is not None else None
            if longest is None or sum(shape) <= longest:
                continue
            whose = "`max_model_len`" if given else "the model's positions"
            yield facts.report(
                "R963",
                f"shapes.{i}",
                f"{shape[0]:,} tokens in and {shape[1]:,} out are more than endpoint `{entry.get('name')}` takes",
                note=f"{whose}: {longest:,}",
                help=f"shorten the shape{' or raise `max_model_len`' if given and _may(model, sum(shape)) else ''}",
            )


def _may(model: object, length: int) -> bool:
    most = getattr(model, "max_positions", None)
    return most is None or most >= length


@rule("R964", "more requests at a time than the server works on", source=SERVE, severity="warning")
def queueing(facts: Facts) -> Iterator[Diagnostic]:
    """Beyond `max_num_seqs` of each replica requests wait in a queue: the time to the first token then measures the
    queue, and throughput does not rise any more. That may be wanted, to show where it ends."""
    most = max(facts.get("concurrency", ()), default=0)
    for path, _, entry in entries(facts):
        if "url" in entry or entry.get("engine") == "transformers":
            continue
        each, replicas = entry.get("max_num_seqs") or MAX_NUM_SEQS, entry.get("replicas") or 1
        if isinstance(each, int) and isinstance(replicas, int) and most > each * replicas:
            yield facts.report(
                "R964",
                f"{path}.max_num_seqs" if "max_num_seqs" in entry else "concurrency",
                f"`concurrency` goes to {most}, endpoint `{entry.get('name')}` works on {each * replicas} at a time",
                help=f"set `max_num_seqs` to {-(-most // replicas)} or more",
                severity="warning",
            )


@rule("R965", "too few requests for the concurrency", source=BENCH, severity="warning")
def too_few(facts: Facts) -> Iterator[Diagnostic]:
    """A cell begins with an idle server and ends with fewer requests under way than it is meant to have. With one round
    of requests there is nothing between."""
    most = max(facts.get("concurrency", ()), default=0)
    rounds, count = facts.get("rounds", 5), facts.get("num_prompts", 32)
    found = max(count, rounds * most)
    if most and found < ROUNDS * most:
        yield facts.report(
            "R965",
            "rounds" if facts.has("rounds") else "num_prompts",
            f"{found} requests at {most} at a time are less than {ROUNDS} rounds",
            help=f"set `rounds` to {ROUNDS} or more",
            severity="warning",
        )


@rule("R966", "no load", source=BENCH)
def no_load(facts: Facts) -> Iterator[Diagnostic]:
    """A cell is an endpoint under one load: so many requests at a time, so many per second, a sweep over rates, or all
    prompts at once without a server."""
    if all(facts.lacks(key) for key in LOADS):
        yield facts.report(
            "R966", "endpoints", "nothing says how much load the endpoints get", help="give `concurrency: [1, 8, 64]`"
        )


@rule("R967", "goodput without an objective", source=BENCH)
def without_objective(facts: Facts) -> Iterator[Diagnostic]:
    """Goodput counts requests that meet every bound of `objective`. A sweep to saturation looks for the rate with most
    of it; without a bound every answer counts, however late it comes."""
    node = facts.node("objective")
    if node is not None and node.value == {}:
        yield facts.report(
            "R967", "objective", "`objective` has no bounds", help="give `ttft_ms`, `tpot_ms` or `e2e_ms`"
        )
    elif facts.has("sweep") and facts.lacks("objective"):
        yield facts.report(
            "R967", "sweep", "`sweep` needs an `objective`", help="give `objective: {ttft_ms: 1000, tpot_ms: 50}`"
        )


@rule("R968", "a sweep that ends before it begins", source=BENCH)
def empty_sweep(facts: Facts) -> Iterator[Diagnostic]:
    """The sweep doubles the rate from `start_rate` on for as long as it is not above `most_rate`: with one rate there
    is nothing that goodput could fall below."""
    start, most = facts.get("start_rate", 1.0), facts.get("most_rate", 128.0)
    if facts.has("sweep") and most < 2 * start:
        yield facts.report(
            "R968",
            "most_rate" if facts.has("most_rate") else "start_rate",
            f"from {start:g} requests per second up to {most:g} there is one rate",
            help="set `most_rate` to several times `start_rate`",
        )
