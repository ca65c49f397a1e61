"""Paired statistics: intervals that cover, signs that turn round, and known cases of McNemar's test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.comparison.statistics import bootstrap, mcnemar, mean_of_tasks, paired

SCORES = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 2), min_size=1, max_size=60)
REAL = st.lists(st.tuples(*[st.floats(-3, 3, width=32)] * 2), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(SCORES | REAL)
def test_the_other_way_round_is_the_same_with_another_sign(rows: list[tuple[float, float]]) -> None:
    first, second = np.array(rows, dtype=float).T
    one, two = paired(first, second, resamples=300), paired(second, first, resamples=300)
    assert one.difference == -two.difference
    assert (one.low, one.high) == (-two.high, -two.low)
    assert (one.wins, one.ties, one.losses) == (two.losses, two.ties, two.wins)
    assert one.p == two.p
    assert one.low <= one.difference <= one.high
    assert one.wins + one.ties + one.losses == one.n == len(rows)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(rows: list[tuple[float, float]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one = paired(*np.array(rows, dtype=float).T, resamples=200)
    assert one == paired(*np.array(shuffled, dtype=float).T, resamples=200)


@pytest.mark.parametrize(("n", "binary"), [(80, True), (400, True), (80, False)])
def test_an_interval_of_95_percent_covers_the_truth_as_often(n: int, binary: bool) -> None:
    """Models of 60% and 66%, right on the same documents more often than by chance: as pairs of answers are."""
    rng = np.random.default_rng(5)
    truth, trials, covered = 0.06, 400, 0
    for trial in range(trials):
        ease = rng.normal(size=n)
        if binary:
            bar = rng.random(n)
            first = (bar < np.clip(0.6 + 0.15 * ease, 0.05, 0.89)).astype(float)
            lift = rng.random(n) < 0.06 / 0.4
            second = np.where(lift & (first == 0), 1.0, first)
            truth = float(0.06 / 0.4 * (1 - np.clip(0.6 + 0.15 * rng.normal(size=200_000), 0.05, 0.89).mean()))
        else:
            first = ease
            second = ease + truth + rng.normal(size=n) * 0.5
        found = paired(first, second, resamples=1000, seed=trial)
        covered += found.low <= truth <= found.high
    # four standard errors of a share of 0.95, and a little for the bootstrap of few documents
    assert 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials) - 0.01 <= covered / trials <= 1.0


def test_pairing_is_narrower_than_two_scores_apart() -> None:
    rng = np.random.default_rng(0)
    first = (rng.random(500) < 0.6).astype(float)
    second = np.where(rng.random(500) < 0.05, 1 - first, first)
    found = paired(first, second)
    apart = 1.96 * math.sqrt(first.var() / 500 + second.var() / 500)
    assert (found.high - found.low) / 2 < apart / 2


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1.0), (4, 0, 0.125), (0, 4, 0.125), (10, 1, 24 / 2**11), (5, 5, 1.0)]
)
def test_mcnemar_is_exact(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p, rel=1e-12)


def test_no_difference_is_no_difference() -> None:
    same = np.array([0.0, 1.0, 1.0])
    found = paired(same, same)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="same documents"):
        paired(same, same[:2])


def test_many_values_are_drawn_as_few_are() -> None:
    """Both ways of the bootstrap have the spread that theory gives a mean."""
    rng = np.random.default_rng(3)
    for gap in (rng.normal(size=300), rng.integers(-1, 2, 300).astype(float)):
        draws = bootstrap(gap, 4000, 0)
        assert draws.std() == pytest.approx(gap.std(ddof=1) / math.sqrt(300), rel=0.06)
        assert draws.mean() == pytest.approx(gap.mean(), abs=0.01)


def test_the_mean_of_tasks_counts_each_once() -> None:
    small, large = np.full(5, 1.0), np.zeros(500)
    assert mean_of_tasks([small, large]) == (0.5, 0.5, 0.5)
