"""Non-negative least squares, robust to outliers and held near what is expected; small enough for plain Python."""

from __future__ import annotations

from collections.abc import Sequence

# a residual beyond this share of the measurement counts linearly, not squared (Huber 1964)
OUTLIER = 0.1
ROUNDS = 12
SWEEPS = 400


def fit(
    rows: Sequence[Sequence[float]], weights: Sequence[float], expected: Sequence[float], trust: float
) -> list[float]:
    """Factors x >= 0 that make every `rows`[i] . x close to 1: a row holds the parts of a prediction, each divided by
    what was measured.

    `expected` are the factors to stay near where the rows say little; `trust` weighs that against one row. Iteratively
    reweighted (Huber), each round by coordinate descent on the normal equations.
    """
    found = list(expected)
    current = list(weights)
    for _ in range(ROUNDS):
        found = _solve(rows, current, expected, trust, found)
        for i, row in enumerate(rows):
            off = abs(sum(a * x for a, x in zip(row, found, strict=True)) - 1)
            current[i] = weights[i] * (1.0 if off < OUTLIER else OUTLIER / off)
    return found


def _solve(
    rows: Sequence[Sequence[float]],
    weights: Sequence[float],
    expected: Sequence[float],
    trust: float,
    start: Sequence[float],
) -> list[float]:
    n = len(expected)
    gram = [[0.0] * n for _ in range(n)]
    right = [0.0] * n
    for row, weight in zip(rows, weights, strict=True):
        used = [j for j in range(n) if row[j]]
        for j in used:
            right[j] += weight * row[j]
            for k in used:
                gram[j][k] += weight * row[j] * row[k]
    for j in range(n):
        gram[j][j] += trust / expected[j] ** 2
        right[j] += trust / expected[j]
    found = list(start)
    for _ in range(SWEEPS):
        moved = 0.0
        for j in range(n):
            rest = right[j] - sum(gram[j][k] * found[k] for k in range(n) if k != j)
            new = max(0.0, rest / gram[j][j])
            moved = max(moved, abs(new - found[j]) / expected[j])
            found[j] = new
        if moved < 1e-6:
            break
    return found
