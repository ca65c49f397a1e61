"""How well a law fitted to small budgets foretells the large ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runner.scaling.laws import Array
from runner.scaling.points import Points, budgets
from runner.scaling.types import Estimate, HeldOut

SHARE = 0.2  # of the runs, those with most FLOPs
LEAST_FITTED = 8


def split(points: Points, share: float = SHARE) -> tuple[Array, float]:
    """Which runs are held out: about `share` of them, whole budgets, the largest; and the largest budget left."""
    held = np.zeros(len(points), dtype=bool)
    for group in reversed(budgets(points.flops)):
        if held.sum() >= share * len(points) or (~held).sum() - len(group) < LEAST_FITTED:
            break
        held[group] = True
    kept = points.flops[~held]
    return held, float(kept.max()) if len(kept) else 0.0


def evaluate(points: Points, fit: Callable[[Points], Estimate | None], share: float = SHARE) -> HeldOut | None:
    """`fit` is given the smaller budgets alone. None where there are too few runs to hold any out."""
    held, up_to = split(points, share)
    if not held.any():
        return None
    inside, beyond = points.take(~held), points.take(held)
    estimate = fit(inside)
    best = np.array([group[np.argmin(beyond.loss[group])] for group in budgets(beyond.flops)])
    counts = (len(beyond), len(inside), up_to)
    if estimate is None:
        return HeldOut(*counts, None, None, None, None, None, len(best), "too few budgets are left to fit it to")
    with np.errstate(all="ignore"):
        found = estimate.predict(estimate.values[None], beyond.params, beyond.tokens, beyond.unique)[0]
    logs, error = np.log(beyond.loss / found), beyond.loss - found
    if not np.isfinite(logs).all():
        return HeldOut(*counts, None, None, None, None, None, len(best), "it gives no loss there")
    best_rmse = float(np.sqrt(np.mean(logs[best] ** 2)))
    if estimate.law == "envelope":
        why = "it gives the loss of the best size alone"
        return HeldOut(*counts, None, None, None, None, best_rmse, len(best), why)
    rmse, mean = float(np.sqrt(np.mean(logs**2))), float(np.mean(np.abs(error)))
    return HeldOut(*counts, rmse, mean, float(np.abs(error).max()), float(np.mean(error)), best_rmse, len(best))
