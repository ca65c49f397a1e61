"""Requests of one cell -> what is told of it: latencies in ms, throughput, goodput, and what a million tokens cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

PERCENTILES = (50, 95, 99)
# names of the latencies as the table has them; `tpot` leaves the first token out, `itl` is every single pause
LATENCIES = ("ttft", "tpot", "itl", "e2e")


@dataclass(frozen=True)
class Request:
    """One that was answered. Seconds: `ttft` from sending to the first token, `latency` to the last; `itl` are the
    pauses between pieces of the stream, which may hold several tokens."""

    ttft: float
    latency: float
    tokens: int
    itl: tuple[float, ...] = ()

    @property
    def tpot(self) -> float | None:
        """Seconds per token after the first; an answer of one token has none."""
        return (self.latency - self.ttft) / (self.tokens - 1) if self.tokens > 1 else None


def percentile(values: Sequence[float], share: float) -> float:
    """Between neighbours linearly, as numpy has it. `share` in percent; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    at = (len(ordered) - 1) * share / 100
    low, high = math.floor(at), math.ceil(at)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def within(request: Request, objective: dict[str, float]) -> bool:
    """Whether a request meets every bound of the objective: `ttft_ms`, `tpot_ms` and `e2e_ms`. An answer of one token
    meets any `tpot_ms`, as in vLLM's client."""
    found = {"ttft_ms": request.ttft, "tpot_ms": request.tpot or 0.0, "e2e_ms": request.latency}
    return all(found[name] * 1000 <= bound for name, bound in objective.items())


def goodput(requests: Iterable[Request], seconds: float, objective: dict[str, float]) -> float:
    """Requests per second that met the objective."""
    return sum(within(r, objective) for r in requests) / seconds


def figures(
    requests: Sequence[Request],
    seconds: float,
    input_tokens: int,
    objective: dict[str, float] | None = None,
    price_usd_per_hour: float = 0.0,
) -> dict[str, Any]:
    """Names carry the units. Throughput is of the whole cell, its slow start and end included."""
    output = sum(r.tokens for r in requests)
    found: dict[str, Any] = {
        "requests_per_s": len(requests) / seconds,
        "output_tokens_per_s": output / seconds,
        "total_tokens_per_s": (input_tokens + output) / seconds,
        "input_tokens": input_tokens,
        "output_tokens": output,
        "goodput_per_s": goodput(requests, seconds, objective) if objective else None,
    }
    values = {
        "ttft": [r.ttft for r in requests],
        "tpot": [t for r in requests if (t := r.tpot) is not None],
        "itl": [pause for r in requests for pause in r.itl],
        "e2e": [r.latency for r in requests],
    }
    for name in LATENCIES:
        for share in PERCENTILES:
            value = percentile(values[name], share)
            found[f"{name}_p{share}_ms"] = None if math.isnan(value) else value * 1000
    return found | money(found["output_tokens_per_s"], price_usd_per_hour)


def money(output_tokens_per_s: float, price_usd_per_hour: float) -> dict[str, float | None]:
    """Output tokens per second for a dollar an hour, and dollars for a million of them; None where nothing is paid."""
    if not price_usd_per_hour or not output_tokens_per_s:
        return {"tokens_per_s_per_usd_hour": None, "usd_per_million_tokens": None}
    return {
        "tokens_per_s_per_usd_hour": output_tokens_per_s / price_usd_per_hour,
        "usd_per_million_tokens": price_usd_per_hour / 3600 / output_tokens_per_s * 1e6,
    }
