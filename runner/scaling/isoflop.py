"""Chinchilla's approach 2: a parabola through each budget's runs, and power laws through the minima."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runner.scaling.laws import Array
from runner.scaling.points import FLOPS_PER_TOKEN, Points, budgets
from runner.scaling.types import Estimate, Minimum

LEAST_RUNS = 4  # of a budget: a parabola goes through any three
LEAST_BUDGETS = 2
NAMES = ("a", "b", "k_n", "k_d", "E", "K", "gamma", "curvature")
_GAMMAS = np.geomspace(0.01, 1.0, 80)
_TELLS_E = 4  # budgets from which on a power law can be told from one with an offset


@dataclass(frozen=True, slots=True)
class Budget:
    """Runs of about equal FLOPs: x = log N less its mean `centre`, y = log loss, and the parabola's coefficients
    (c2, c1, c0) in x."""

    indices: Array
    flops: float
    per_param_token: float
    centre: float
    x: Array
    y: Array

    def parabolas(self, y: Array) -> Array:
        """Least squares, (rows, 3), for rows of losses."""
        powers = np.stack([self.x**2, self.x, np.ones_like(self.x)], axis=-1)
        found: Array = y @ np.linalg.pinv(powers).T
        return found

    def leverage(self) -> Array:
        """How far each run draws the parabola to itself: 1 is through it."""
        powers = np.stack([self.x**2, self.x, np.ones_like(self.x)], axis=-1)
        found: Array = np.einsum("ij,ji->i", powers, np.linalg.pinv(powers))
        return found

    def turns(self, c: Array) -> Array:
        """Which parabolas have a minimum within, or one span of the sizes beyond, those that were run."""
        best = -c[:, 1] / (2 * np.where(c[:, 0] > 0, c[:, 0], 1.0))
        low, high = self.x.min(), self.x.max()
        kept: Array = (c[:, 0] > 0) & (best >= 2 * low - high) & (best <= 2 * high - low)
        return kept

    def lowest(self, c: Array) -> tuple[Array, Array]:
        """log N and log loss of the minima."""
        with np.errstate(all="ignore"):
            return self.centre - c[:, 1] / (2 * c[:, 0]), c[:, 2] - c[:, 1] ** 2 / (4 * c[:, 0])

    def tokens(self, log_n: Array) -> Array:
        """log D at the budget's FLOPs."""
        found: Array = np.log(self.flops / self.per_param_token) - log_n
        return found


def read_budgets(points: Points) -> list[Budget]:
    """Those with enough sizes and a parabola that turns: Hoffmann et al. 2022, section 3.2, who fit the loss; its
    logarithm makes budgets alike in their noise."""
    found = []
    for group in budgets(points.flops):
        x, y = np.log(points.params[group]), np.log(points.loss[group])
        if len(np.unique(np.round(x, 2))) < LEAST_RUNS:
            continue
        flops = float(np.exp(np.mean(np.log(points.flops[group]))))
        each = float(np.exp(np.mean(np.log(points.flops[group] / points.params[group] / points.tokens[group]))))
        one = Budget(group, flops, each, float(x.mean()), x - x.mean(), y)
        if one.turns(one.parabolas(y[None]))[0]:
            found.append(one)
    return found


def minima(found: Sequence[Budget]) -> tuple[Minimum, ...]:
    """The best size of each budget."""
    listed = []
    for one in found:
        c = one.parabolas(one.y[None])
        log_n, log_loss = (float(v[0]) for v in one.lowest(c))
        edge = not one.x.min() <= log_n - one.centre <= one.x.max()
        tokens = float(np.exp(one.tokens(np.array([log_n]))[0]))
        c2, c1, c0 = (float(v) for v in c[0])
        fitted = (c2, c1 - 2 * c2 * one.centre, c0 - c1 * one.centre + c2 * one.centre**2)
        indices = tuple(int(i) for i in one.indices)
        listed.append(Minimum(one.flops, float(np.exp(log_n)), tokens, float(np.exp(log_loss)), edge, fitted, indices))
    return tuple(listed)


def estimate(points: Points, samples: int = 500, seed: int = 0) -> Estimate | None:
    """None with fewer budgets than a power law needs."""
    found = read_budgets(points)
    if len(found) < LEAST_BUDGETS:
        return None
    values = power_laws(found, [one.parabolas(one.y[None]) for one in found])
    rows = power_laws(found, _again(found, samples, seed)) if samples else np.empty((0, len(NAMES)))
    return Estimate(
        "isoflop",
        "parabolas",
        NAMES,
        values[0],
        rows[np.isfinite(rows).all(axis=1)],
        None,
        True,
        predict,
        minima(found),
    )


def _again(found: Sequence[Budget], samples: int, seed: int) -> list[Array]:
    """Parabolas of bootstrap samples: residuals drawn anew and added to each budget's parabola (Efron 1979), so that
    every sample has all of its few sizes. They are drawn from all budgets together, since one has too few to say how
    far they spread, and each is enlarged by what the parabola takes from it, its leverage."""
    generator = np.random.default_rng(seed)
    fitted = [np.polyval(one.parabolas(one.y[None])[0], one.x) for one in found]
    pool = np.concatenate(
        [(one.y - f) / np.sqrt(np.maximum(1 - one.leverage(), 0.1)) for one, f in zip(found, fitted, strict=True)]
    )
    pool -= pool.mean()
    return [
        one.parabolas(f + pool[generator.integers(0, len(pool), (samples, len(f)))])
        for one, f in zip(found, fitted, strict=True)
    ]


def power_laws(found: Sequence[Budget], parabolas: Sequence[Array]) -> Array:
    """(rows, NAMES): N_opt = k_n C^a and D_opt = k_d C^b by least squares in logs; the lowest loss as E + K C^-gamma;
    and the mean bend of the parabolas, which gives the loss beside the optimum. A row in which a budget's parabola
    does not turn goes without that budget's minimum."""
    log_c = np.log([one.flops for one in found])
    turns = np.stack([one.turns(c) for one, c in zip(found, parabolas, strict=True)], axis=-1)
    lowest = [one.lowest(c) for one, c in zip(found, parabolas, strict=True)]
    log_n, log_loss = (np.where(turns, np.stack([low[i] for low in lowest], axis=-1), 0.0) for i in (0, 1))
    log_d = np.stack([one.tokens(log_n[:, i]) for i, one in enumerate(found)], axis=-1)
    a, k_n = _line(log_c, log_n, turns)
    b, k_d = _line(log_c, log_d, turns)
    level, scale, gamma = offset_power_law(log_c, np.exp(log_loss), turns.astype(float))
    bends = np.stack([c[:, 0] for c in parabolas], axis=-1)
    bend = np.where(turns, bends, 0.0).sum(axis=1) / np.maximum(turns.sum(axis=1), 1)
    return np.stack([a, b, np.exp(k_n), np.exp(k_d), level, scale, gamma, bend], axis=-1)


def _line(x: Array, y: Array, counted: Array) -> tuple[Array, Array]:
    """Slope and intercept, (rows), of least squares over the `counted` columns; nan where they are fewer than two."""
    w = counted.astype(float)
    with np.errstate(all="ignore"):
        total = w.sum(axis=1)
        mean_x, mean_y = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
        away = (x - mean_x[:, None]) * w
        slope = (away * y).sum(axis=1) / (away * (x - mean_x[:, None])).sum(axis=1)
    return slope, mean_y - slope * mean_x


def offset_power_law(log_c: Array, loss: Array, weights: Array) -> tuple[Array, Array, Array]:
    """E, K, gamma (rows) of loss = E + K C^-gamma with E and K >= 0, by least squares on the relative error for each
    gamma of a grid, and of a finer one around the best. E is 0 where too few budgets could tell it from the power."""
    centre = float(log_c.mean())
    level, scale, gamma = _best_gamma(log_c - centre, loss, weights, np.tile(_GAMMAS, (len(loss), 1)))
    finer = gamma[:, None] * np.exp(np.linspace(-1, 1, 61) * np.log(_GAMMAS[1] / _GAMMAS[0]))
    level, scale, gamma = _best_gamma(log_c - centre, loss, weights, finer)
    return level, scale * np.exp(gamma * centre), gamma


def _best_gamma(away: Array, loss: Array, weights: Array, gammas: Array) -> tuple[Array, Array, Array]:
    """`gammas` (rows, tried); E and K of the best of each row have a closed form."""
    fall = np.exp(-gammas[:, :, None] * away)  # (rows, tried, budgets)
    w = (weights / loss**2)[:, None, :]
    y = loss[:, None, :]
    s11, s1f, sff = w.sum(axis=2), (w * fall).sum(axis=2), (w * fall**2).sum(axis=2)
    s1y, sfy = (w * y).sum(axis=2), (w * fall * y).sum(axis=2)
    with np.errstate(all="ignore"):
        level = (sff * s1y - s1f * sfy) / (s11 * sff - s1f**2)
        level = np.where((weights.sum(axis=1)[:, None] >= _TELLS_E) & (level > 0), level, 0.0)
        scale = np.maximum((sfy - level * s1f) / sff, 0.0)
    error = (w * (level[:, :, None] + scale[:, :, None] * fall - y) ** 2).sum(axis=2)
    best = np.argmin(error, axis=1)
    rows = np.arange(len(best))
    return level[rows, best], scale[rows, best], gammas[rows, best]


def predict(values: Array, params: Array, tokens: Array, unique: Array) -> Array:
    """Loss from the parabola around the optimum of the run's budget, 6 N D."""
    a, _, k_n, _, level, scale, gamma, bend = (column[:, None] for column in values.T)
    log_c = np.log(FLOPS_PER_TOKEN * params * tokens)[None, :]
    lowest = level + scale * np.exp(-gamma * log_c)
    away = np.log(params)[None, :] - (np.log(k_n) + a * log_c)
    found: Array = lowest * np.exp(np.minimum(bend * away**2, 50.0))
    return found
