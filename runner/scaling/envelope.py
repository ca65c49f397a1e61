"""Chinchilla's approach 1: the lowest loss that any size reaches at each number of FLOPs, and power laws through it."""

from __future__ import annotations

import numpy as np

from runner.scaling.isoflop import offset_power_law
from runner.scaling.laws import Array
from runner.scaling.points import Points
from runner.scaling.types import Estimate, Minimum

NAMES = ("a", "b", "k_n", "k_d", "E", "K", "gamma")
GRID = 1500  # Hoffmann et al. 2022, section 3.1: FLOP counts at which the best run is looked up
SAME_SIZE = 1.02  # a curve's runs may count their parameters a little differently
LEAST_SIZES = 3


def curves(points: Points) -> list[Array]:
    """Indices of runs of each size, smallest size first, each by FLOPs: loss against compute, as in training."""
    order = np.argsort(points.params, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if groups and points.params[i] <= points.params[groups[-1][0]] * SAME_SIZE:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    found = [np.array(group)[np.argsort(points.flops[group], kind="stable")] for group in groups]
    return [curve for curve in found if len(np.unique(points.flops[curve])) >= 2]


def envelope(points: Points) -> tuple[Minimum, ...]:
    """The best size at each of `GRID` FLOP counts between the runs', once for each stretch that one size wins.

    Only where at least two sizes were run, and not where the smallest or the largest of them is the best, since one
    still smaller or larger may have been better.
    """
    listed = curves(points)
    if len(listed) < LEAST_SIZES:
        return ()
    grid = np.linspace(np.log(points.flops.min()), np.log(points.flops.max()), GRID)
    table = np.full((len(listed), GRID), np.inf)
    for row, curve in enumerate(listed):
        x, y = np.log(points.flops[curve]), np.log(points.loss[curve])
        inside = (grid >= x[0]) & (grid <= x[-1])
        table[row, inside] = np.interp(grid[inside], x, y)
    there = np.isfinite(table)
    best = table.argmin(axis=0)
    first, last = there.argmax(axis=0), len(listed) - 1 - there[::-1].argmax(axis=0)
    good = (there.sum(axis=0) >= LEAST_SIZES) & (best != first) & (best != last)
    found = []
    for column in np.flatnonzero(good):
        curve = listed[best[column]]
        params = float(np.exp(np.mean(np.log(points.params[curve]))))
        tokens = float(np.exp(np.interp(grid[column], np.log(points.flops[curve]), np.log(points.tokens[curve]))))
        flops, loss = float(np.exp(grid[column])), float(np.exp(table[best[column], column]))
        found.append(Minimum(flops, params, tokens, loss, False, (0.0, 0.0, 0.0), tuple(int(i) for i in curve)))
    return tuple(found)


def estimate(points: Points, samples: int = 200, seed: int = 0) -> Estimate | None:
    """None where no size but the smallest or largest is ever the best. Bootstrap samples draw whole sizes."""
    found = envelope(points)
    if len({m.params for m in found}) < 2:
        return None
    listed = curves(points)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(samples):
        kept = sorted(set(generator.integers(0, len(listed), len(listed)).tolist()))
        again = envelope(points.take(np.concatenate([listed[i] for i in kept])))
        if len({m.params for m in again}) >= 2:
            drawn.append(_power_laws(again))
    rows = np.array(drawn) if drawn else np.empty((0, len(NAMES)))
    return Estimate("envelope", "envelope", NAMES, _power_laws(found), rows, None, True, predict, _ends(found))


def _power_laws(found: tuple[Minimum, ...]) -> Array:
    c = np.log([m.flops for m in found])
    a, log_k_n = np.polyfit(c, np.log([m.params for m in found]), 1)
    b, log_k_d = np.polyfit(c, np.log([m.tokens for m in found]), 1)
    some = slice(None, None, max(1, len(c) // 50))
    losses = np.array([m.loss for m in found])[some]
    level, scale, gamma = (v[0] for v in offset_power_law(c[some], losses[None], np.ones((1, len(losses)))))
    return np.array([a, b, np.exp(log_k_n), np.exp(log_k_d), level, scale, gamma])


def _ends(found: tuple[Minimum, ...]) -> tuple[Minimum, ...]:
    """The middle of each stretch that one size wins."""
    stretches: list[list[Minimum]] = []
    for one in found:
        if stretches and stretches[-1][-1].params == one.params:
            stretches[-1].append(one)
        else:
            stretches.append([one])
    return tuple(stretch[len(stretch) // 2] for stretch in stretches)


def predict(values: Array, params: Array, tokens: Array, unique: Array) -> Array:
    """The lowest loss of the run's budget; of runs beside the optimum this law says nothing more."""
    level, scale, gamma = (column[:, None] for column in values.T[4:7])
    found: Array = level + scale * np.exp(-gamma * np.log(6.0 * params * tokens)[None, :])
    return found
