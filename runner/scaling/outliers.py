"""Runs that a law can't explain: named always, left out where no noise explains them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runner.scaling.laws import Array
from runner.scaling.points import Points
from runner.scaling.types import Estimate, Outlier

# Robust standard deviations from the law. A run beyond the first is named. One beyond the second is left out as well:
# of the 245 runs that Besiroglu et al. 2024 read from Hoffmann et al.'s figure these are the five that they left out by
# hand (12 sigmas and more, at less than half a token per parameter; the next is at 10.5).
NAMED_SIGMAS = 5.0
LEFT_OUT_SIGMAS = 11.0
# and off by at least this share of the loss: runs without noise have no measure of it
LEAST_ERROR = 0.02
# a law that more runs contradict is the wrong law, and all runs count
LARGEST_SHARE = 0.05
FEWEST_RUNS = 20
_MAD = 1.4826  # of a normal distribution: standard deviation / median of absolute deviations
_ROUNDS = 8

Refit = Callable[[Points], Estimate]


def spread(residuals: Array) -> float:
    """Robust standard deviation of log loss around the law."""
    return float(_MAD * np.median(np.abs(residuals)))


def residuals(estimate: Estimate, points: Points) -> Array:
    """log measured less log predicted loss."""
    found = estimate.predict(estimate.values[None], points.params, points.tokens, points.unique)[0]
    difference: Array = np.log(points.loss) - np.log(found)
    return difference


def choose(points: Points, refit: Refit, policy: str) -> tuple[Array, Estimate]:
    """Which runs the fit counts, and the fit to them. `policy`: `auto` leaves out the gross ones, `drop` all that are
    named, `keep` none. Farthest first and fitted anew, since a few gross ones bend the law towards them."""
    used = np.ones(len(points), dtype=bool)
    first = estimate = refit(points)
    limit = {"auto": LEFT_OUT_SIGMAS, "drop": NAMED_SIGMAS}.get(policy)
    if limit is None or len(points) < FEWEST_RUNS:
        return used, estimate
    for _ in range(_ROUNDS):
        error = residuals(estimate, points)
        sigma = spread(error[used])
        far = used & (np.abs(error) > max(limit * sigma, LEAST_ERROR if policy == "auto" else LEAST_ERROR / 4))
        if not far.any():
            break
        worst = np.abs(error) >= 0.5 * np.abs(error[far]).max()  # lesser ones may be none once these are gone
        used &= ~(far & worst)
        if policy == "auto" and (~used).sum() > LARGEST_SHARE * len(points):
            return np.ones(len(points), dtype=bool), first
        estimate = refit(points.take(used))
    return used, estimate


def named(points: Points, error: Array, used: Array) -> tuple[Outlier, ...]:
    """Every run beyond `NAMED_SIGMAS` and every one left out, farthest first."""
    sigma = max(spread(error[used]), 1e-12)
    far = (np.abs(error) > max(NAMED_SIGMAS * sigma, LEAST_ERROR / 4)) | ~used
    order = [int(i) for i in np.argsort(-np.abs(error)) if far[i]]
    predicted = points.loss / np.exp(error)
    return tuple(
        Outlier(i, points.place(i), float(predicted[i]), float(error[i] / sigma), bool(used[i])) for i in order
    )
