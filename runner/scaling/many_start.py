"""The slow route to Chinchilla's law, as it was published: L-BFGS from every point of a grid of starts."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import minimize

from runner.scaling.laws import Array, Chinchilla, Inputs
from runner.scaling.solve import DELTA, Solved, huber

# Hoffmann et al. 2022, appendix D.3: starts of a = log A, b = log B, e = log E, alpha, beta; 4,500 in all
STARTS = {
    "a": np.arange(0.0, 30.0, 5.0),
    "b": np.arange(0.0, 30.0, 5.0),
    "e": np.arange(-1.0, 1.5, 0.5),
    "alpha": np.arange(0.0, 2.5, 0.5),
    "beta": np.arange(0.0, 2.5, 0.5),
}
# The objective is divided by this, so that L-BFGS's tolerances, which are meant for figures near one, do not stop it
# early: what Besiroglu et al. 2024 found had happened to the published fit.
_SCALE = 1e-6
_POLISH = 20  # restarts of the best, as long as they go lower


def fit(at: Inputs, delta: float = DELTA, starts: Array | None = None) -> Solved:
    """The lowest minimum that any start leads to, as one theta in our centred variables."""
    law = Chinchilla()
    best, lowest = None, np.inf
    for start in published_starts() if starts is None else starts:
        found = _descend(law, start, at, delta)
        if found[1] < lowest:
            best, lowest = found
    assert best is not None
    converged = False
    for _ in range(_POLISH):
        again, value = _descend(law, best, at, delta)
        converged = lowest - value <= 1e-12 * lowest
        if value < lowest:
            best, lowest = again, value
        if converged:
            break
    theta = law.theta(_natural(best)[None], at)
    return Solved(theta, np.array([lowest * _SCALE]), np.array([converged]))


def published_starts() -> Array:
    return np.array(list(itertools.product(*STARTS.values())))


def _natural(x: Array) -> Array:
    a, b, e, alpha, beta = x
    return np.array([np.exp(e), np.exp(a), np.exp(b), alpha, beta])


def _descend(law: Chinchilla, start: Array, at: Inputs, delta: float) -> tuple[Array, float]:
    """L-BFGS in the paper's own variables, which are not centred."""

    def value(x: Array) -> tuple[float, Array]:
        a, b, e, alpha, beta = x
        theta = np.array([[a - alpha * at.log_n0, b - beta * at.log_d0, e, alpha, beta]])
        found, slopes = law.slopes(theta, at)
        residual = found[0] - at.log_loss
        slope = np.clip(residual, -delta, delta) @ slopes[0]
        slope[3] -= at.log_n0 * slope[0]
        slope[4] -= at.log_d0 * slope[1]
        return float(huber(residual, delta).sum()) / _SCALE, slope / _SCALE

    with np.errstate(over="ignore", invalid="ignore"):
        options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20}
        result = minimize(value, start, jac=True, method="L-BFGS-B", options=options)
    return result.x, float(result.fun) if np.isfinite(result.fun) else np.inf
