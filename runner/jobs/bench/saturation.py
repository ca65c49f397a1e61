"""The rate at which an endpoint is saturated: doubled until what it answers in time falls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Saturation:
    """`rates` were tried, in that order, with the `goodput` of each, both in requests per second. `best` is the rate
    with most goodput. `saturated` is False where goodput had not fallen at the highest rate allowed."""

    rates: tuple[float, ...]
    goodput: tuple[float, ...]
    saturated: bool

    @property
    def best(self) -> float:
        return self.rates[self.goodput.index(max(self.goodput))]


def saturate(measure: Callable[[float], float], start: float, most: float) -> Saturation:
    """`measure` gives the goodput at a rate. Doubles from `start` until it falls below the best so far, or up to
    `most`. Equal goodput is no fall: a long cell may end between two requests."""
    rates, found = [], []
    rate = start
    while rate <= most or not rates:
        value = measure(rate)
        fell = bool(found) and value < max(found)
        rates.append(rate)
        found.append(value)
        if fell or value == 0:
            return Saturation(tuple(rates), tuple(found), True)
        rate *= 2
    return Saturation(tuple(rates), tuple(found), False)
