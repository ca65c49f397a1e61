"""What requests see at a given concurrency: time to first token, time per output token, throughput."""

from __future__ import annotations

from dataclasses import dataclass

from runner.plan.serving.settings import BLOCK, Resolved
from runner.plan.serving.speed import MASKED, Batch, Engine, step

MOST_BUSY = 0.95  # queues are not told beyond it; they grow without bound


@dataclass(frozen=True, slots=True)
class Load:
    """Of one replica that always has `concurrency` requests under way.

    Seconds of a request: `first_token` from its arrival, then `per_token` for each further one, which includes the
    pauses that other requests' prompts make. `tokens_per_s` counts output; `busy` is the share of the steps' time in
    which prompts are read.
    """

    concurrency: int
    first_token: float
    per_token: float
    tokens_per_s: float
    requests_per_s: float
    busy: float


def cached_prefix(r: Resolved) -> int:
    """Tokens of a prompt that are found in the cache: whole blocks, and never the last token, whose logits are needed
    (v1/core/kv_cache_manager.py, get_computed_blocks)."""
    if not r.prefix_caching:
        return 0
    return min(r.prefix_len, r.input_len - 1) // BLOCK * BLOCK


def steady(e: Engine, concurrency: int) -> Load:
    """While one request decodes its tokens, each of the `concurrency` has its prompt read once, in pieces that share
    their steps with the decoding requests (continuous batching: Yu et al. 2022, "Orca", OSDI). So a request lives for
    as many steps as it has tokens, those with pieces of prompts longer than the others: one prompt at a time while
    fewer finish than there are steps, several packed into one beyond, until every step is as full as it may be.

    Pipeline stages work on as many batches as there are of them.
    """
    r = e.settings
    found = cached_prefix(r)
    new, context, out = r.input_len - found, r.input_len + r.output_len / 2, r.output_len
    batch, most = max(1, -(-concurrency // r.pipeline)), r.max_num_batched_tokens
    own = -(-new // most)  # pieces of one prompt
    pieces = max(min(float(batch * own), out), batch * new / most)
    mixed = step(e, Batch(batch - 1, context, max(1, round(batch * new / pieces)), found + MASKED * new)).total
    plain = step(e, Batch(batch, context)).total
    life = pieces * mixed + max(0.0, out - pieces) * plain
    busy = pieces * mixed / life
    reading = mixed * (own + r.pipeline - 1) / r.pipeline
    wait = _wait(busy, mixed, plain, max(1.0, most / new)) if concurrency > 1 else 0.0
    return Load(
        concurrency=concurrency,
        first_token=wait + reading,
        per_token=(life - own * mixed) / (out - 1) if out > 1 and life > own * mixed else plain,
        tokens_per_s=concurrency * out / life,
        requests_per_s=concurrency / life,
        busy=busy,
    )


def _wait(busy: float, mixed: float, plain: float, together: float) -> float:
    """Seconds until a prompt is taken up: half of the step that is under way, then those before it, of which a step
    takes `together`. With one at a time this is the queue with random arrivals and equal work (Khinchin 1932): half of
    busy / (1 - busy) of a prompt."""
    load = min(MOST_BUSY, busy / together)
    return (busy * mixed + (1 - busy) * plain) / 2 + mixed * load**2 / (2 * (1 - load))
