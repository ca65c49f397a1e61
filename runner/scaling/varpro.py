"""The fast route to Chinchilla's law: variable projection. Given the exponents, the rest is linear."""

from __future__ import annotations

import numpy as np

from runner.scaling.laws import Array, Chinchilla, Inputs
from runner.scaling.solve import DELTA, Solved, huber, minimise

# Exponents that are looked at: from hardly any fall to a faster one than any paper found; even steps in the log.
EXPONENTS = np.geomspace(0.02, 2.5, 22)
_ROUNDS = 3  # of reweighting
_STARTS = 6  # best cells of the grid that are followed to the bottom
# every choice of which of E, A, B are above zero, none but the empty one
_CHOICES = ((0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,))


def fit(at: Inputs, delta: float = DELTA) -> Solved:
    """The global minimum of the objective, as one theta.

    For each pair of exponents on a grid, E, A and B >= 0 come from non-negative least squares on the relative error,
    reweighted so that it becomes Huber's loss of the error in log loss; the best of the grid are then followed to the
    bottom by Newton's method on the very objective. Golub and Pereyra 1973 is the method's source; Czech et al.
    2026, arXiv 2603.22339, use it on this law.
    """
    starts = grid(at, delta)
    solved = minimise(Chinchilla(), starts, at, delta=delta)
    best = int(np.argmin(solved.objective))
    return Solved(solved.theta[[best]], solved.objective[[best]], solved.converged[[best]])


def grid(at: Inputs, delta: float = DELTA) -> Array:
    """The best few thetas of the grid, best first."""
    alpha, beta = (x.ravel() for x in np.meshgrid(EXPONENTS, EXPONENTS, indexing="ij"))
    terms = (
        np.stack(
            [
                np.ones((len(alpha), len(at.n))),
                np.exp(-alpha[:, None] * at.n),
                np.exp(-beta[:, None] * at.d),
            ],
            axis=-1,
        )
        * np.exp(-at.log_loss)[:, None]
    )  # predicted loss / measured loss, of E = A = B = 1
    weights = np.ones(terms.shape[:2])
    for _ in range(_ROUNDS):
        linear = nonnegative(terms, weights)
        ratio = np.matmul(terms, linear[:, :, None])[:, :, 0]
        error = np.log(np.maximum(ratio, 1e-12))
        # Huber's loss is the parabola of this weight at this error; log(r) is r - 1 to first order
        weights = delta / np.maximum(np.abs(error), delta)
    score = huber(error, delta).sum(axis=1)
    chosen = _apart(score.reshape(len(EXPONENTS), len(EXPONENTS)))
    logs = np.log(np.maximum(linear[chosen], 1e-9))
    return np.stack([logs[:, 1], logs[:, 2], logs[:, 0], alpha[chosen], beta[chosen]], axis=-1)


def nonnegative(terms: Array, weights: Array) -> Array:
    """argmin over x >= 0 of sum w (terms x - 1)^2, for each of a batch, (batch, 3): with three unknowns every choice
    of those above zero can be tried, and the best that is feasible is the minimum."""
    weighted = terms * weights[:, :, None]
    normal, right = np.matmul(weighted.transpose(0, 2, 1), terms), weighted.sum(axis=1)
    best = np.zeros((len(terms), 3))
    lowest = np.zeros(len(terms))  # the objective less its constant
    for choice in _CHOICES:
        kept = list(choice)
        part = normal[:, kept][:, :, kept]
        part = part + np.eye(len(kept)) * (1e-13 * np.einsum("bii->bi", part).max(axis=1))[:, None, None]
        x = np.linalg.solve(part, right[:, kept, None])[:, :, 0]
        value = -(x * right[:, kept]).sum(axis=1)
        wins = (x >= 0).all(axis=1) & (value < lowest)
        full = np.zeros_like(best)
        full[:, kept] = x
        best[wins], lowest[wins] = full[wins], value[wins]
    return best


def _apart(score: Array) -> Array:
    """Cells lower than their neighbours, then simply low ones, `_STARTS` in all."""
    padded = np.pad(score, 1, constant_values=np.inf)
    size = len(score)
    around = [padded[i : i + size, j : j + size] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    valley = (score <= np.min(around, axis=0)).ravel()
    flat = score.ravel()
    order = np.argsort(flat)
    first = [i for i in order if valley[i]][:_STARTS]
    rest = [i for i in order if i not in set(first)]
    found: Array = np.array((first + rest)[:_STARTS])
    return found
