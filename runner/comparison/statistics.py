"""Paired differences: bootstrap over documents, and the exact test of McNemar for right and wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# a block of the bootstrap has at most so many numbers
_BLOCK = 4_000_000
# with fewer different values, what is drawn is how often each comes, which is the same and takes no time
_FEW = 64


@dataclass(frozen=True, slots=True)
class Paired:
    """`second` less `first` over `n` documents: the mean, its interval, and on how many documents each is ahead.

    `p` is that there is no difference: exact (McNemar) where all values are 0 or 1, else from the bootstrap.
    """

    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p: float
    test: str


def paired(first: Array, second: Array, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Paired:
    """Two scores of the same documents, in the same order. Raises ValueError where there are none."""
    if first.shape != second.shape or first.size == 0:
        raise ValueError("scores of the same documents are needed, one or more")
    gap = second - first
    means = bootstrap(gap, resamples, seed)
    low, high = interval(means, float(gap.mean()), confidence)
    wins, losses = int((gap > 0).sum()), int((gap < 0).sum())
    binary = bool(np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all())
    p = mcnemar(wins, losses) if binary else bootstrap_p(means, float(gap.mean()))
    return Paired(
        n=first.size,
        first=float(first.mean()),
        second=float(second.mean()),
        difference=float(gap.mean()),
        low=low,
        high=high,
        wins=wins,
        ties=first.size - wins - losses,
        losses=losses,
        p=p,
        test="McNemar" if binary else "bootstrap",
    )


def bootstrap(gap: Array, resamples: int, seed: int) -> Array:
    """Means of samples of `gap` with replacement, as many as `resamples`; of -gap they are the same with another sign.

    Deviations are made wider by sqrt(n / (n - 1)): a sample has less spread than what it is drawn from.
    """
    mirrored = _mirrored(gap)
    sign = -1.0 if _negative(gap) else 1.0
    gap, n = gap * sign, gap.size
    rng = np.random.default_rng(seed)
    values, counts = np.unique(gap, return_counts=True)
    if values.size <= _FEW:
        means = rng.multinomial(n, counts / n, size=resamples) @ values / n
    else:
        ordered = np.repeat(values, counts)  # whatever order the documents came in
        step = max(1, _BLOCK // n)
        sizes = [min(step, resamples - at) for at in range(0, resamples, step)]
        means = np.concatenate([ordered[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes])
    middle = gap.mean()
    wider = np.sqrt(n / (n - 1)) if n > 1 else 1.0
    found: Array = sign * (middle + (means - middle) * wider)
    # nothing tells one direction from the other, so that each mean stands for its mirror image too
    half = (found.size + 1) // 2
    return np.concatenate([found[:half], -found[:half]]) if mirrored else found


def _mirrored(gap: Array) -> bool:
    """Whether the same values come with another sign, as often."""
    return np.array_equal(np.sort(gap), np.sort(-gap))


def _negative(gap: Array) -> bool:
    total = float(gap.sum())
    if total != 0:
        return total < 0
    values, counts = np.unique(gap, return_counts=True)
    mirrored = np.unique(-gap, return_counts=True)
    # a mean of nothing: the first of the two in any fixed order
    return (values.tolist(), counts.tolist()) > (mirrored[0].tolist(), mirrored[1].tolist())


def interval(means: Array, middle: float, confidence: float) -> tuple[float, float]:
    """The middle `confidence` of the bootstrap's means; both ends are computed alike, so that a change of sign swaps
    them exactly."""
    tail = (1 - confidence) / 2
    low = float(np.quantile(means, tail, method="lower"))
    high = -float(np.quantile(-means, tail, method="lower"))
    return min(low, middle), max(high, middle)


def bootstrap_p(means: Array, middle: float) -> float:
    """Twice the share of the means, moved to a middle of nothing, that are as far out as what was seen."""
    away = np.abs(means - middle) >= abs(middle)
    return float((away.sum() + 1) / (means.size + 1))


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided, exact: of the documents on which only one is right, as many or more on one side by chance."""
    from scipy.stats import binom

    n = wins + losses
    return 1.0 if n == 0 else min(1.0, 2 * float(binom.cdf(min(wins, losses), n, 0.5)))


def mean_of_tasks(
    gaps: list[Array], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """The mean over tasks of their mean gaps with its interval; documents are drawn inside their task."""
    draws = np.mean([bootstrap(gap, resamples, seed + i) for i, gap in enumerate(gaps)], axis=0)
    middle = float(np.mean([gap.mean() for gap in gaps]))
    low, high = interval(draws, middle, confidence)
    return middle, low, high
