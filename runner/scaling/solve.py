"""The objective, Huber's loss of the error in log loss, and a Newton method that minimises it in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runner.scaling.laws import Array, Inputs, Law

# Hoffmann et al. 2022, equation 3: delta = 1e-3, summed over runs. The sum, not the mean: with the mean their optimizer
# stopped early, which Besiroglu et al. 2024 (arXiv 2404.10102, appendix) found to be what was wrong.
DELTA = 1e-3
_FURTHEST = 0.7  # of any variable in one step
_STILL = 1e-13  # a step that promises less than this share of the objective is the last


@dataclass(frozen=True, slots=True)
class Solved:
    """theta (batch, variables), the objective (batch) and whether its minimum was reached."""

    theta: Array
    objective: Array
    converged: Array


def huber(residual: Array, delta: float = DELTA) -> Array:
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * residual * residual, delta * (size - 0.5 * delta))


def objective(law: Law, theta: Array, at: Inputs, weights: Array | float = 1.0, delta: float = DELTA) -> Array:
    """(batch): the weighted sum over runs."""
    found: Array = (weights * huber(law.predict(theta, at) - at.log_loss, delta)).sum(axis=-1)
    return found


def minimise(
    law: Law,
    theta: Array,
    at: Inputs,
    weights: Array | None = None,
    delta: float = DELTA,
    most: int = 300,
    still: float = _STILL,
) -> Solved:
    """From each theta downhill to the nearest minimum; `weights` (batch, runs) count runs several times or not at all.

    A semismooth Newton step: the curvature of the runs within delta, and `damping` times that of the parabolas that
    lie above Huber's loss and touch it at each residual. Much damping makes it iteratively reweighted least squares,
    which always descends; none makes it Newton's method, which ends in a few steps once it is near.
    """
    theta = theta.copy()
    batch, runs = len(theta), len(at.log_loss)
    weights = np.ones((batch, runs)) if weights is None else weights
    value = objective(law, theta, at, weights, delta)
    damping = np.full(batch, 1.0)
    at_rest = np.zeros(batch, dtype=bool)
    for _ in range(most):
        moving = np.flatnonzero(~at_rest)
        if not len(moving):
            break
        step, promised = _step(law, theta[moving], at, weights[moving], damping[moving], delta)
        tried = theta[moving] + step
        reached = objective(law, tried, at, weights[moving], delta)
        better = reached < value[moving]
        at_rest[moving] = (promised <= still * value[moving]) | (damping[moving] > 1e8)
        theta[moving[better]], value[moving[better]] = tried[better], reached[better]
        damping[moving] *= np.where(better, 0.2, 6.0)
        damping = np.maximum(damping, 1e-7)
    return Solved(theta, value, at_rest)


def _step(law: Law, theta: Array, at: Inputs, weights: Array, damping: Array, delta: float) -> tuple[Array, Array]:
    """Where to go, and by how much the objective should fall."""
    found, slopes = law.slopes(theta, at)
    residual = found - at.log_loss
    size = np.abs(residual)
    pull = weights * np.clip(residual, -delta, delta)
    gradient = np.matmul(pull[:, None, :], slopes)[:, 0, :]
    stiffness = weights * ((size <= delta) + damping[:, None] * delta / np.maximum(size, delta))
    curvature = np.matmul((slopes * stiffness[:, :, None]).transpose(0, 2, 1), slopes)
    scale = np.einsum("bii->bi", curvature)
    ridge = (1e-12 * scale.max(axis=1))[:, None] + 1e-300
    curvature = curvature + np.eye(theta.shape[1]) * ridge[:, :, None]
    step = -np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
    longest = np.abs(step).max(axis=1)
    step *= np.minimum(1.0, _FURTHEST / np.maximum(longest, 1e-300))[:, None]
    return step, -(gradient * step).sum(axis=1)
