"""Known constants lie in the stated intervals, all of a law's at once, in 95 of 100 seeds."""

from __future__ import annotations

import pytest

from runner.scaling.fit import Settings, fit
from runner.scaling.types import LEVEL
from tests.scaling.synthetic import CONSTANTS, runs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("law", ["chinchilla", "kaplan"])
def test_intervals_hold_the_truth_in_95_of_100_seeds(law: str) -> None:
    assert LEVEL == 0.95
    settings = Settings(law=law, samples=200, holdout=0)
    held, widths = 0, []
    for seed in range(100):
        found = fit(runs(law, seed, budgets=6, sizes=6), settings)
        intervals = [found.intervals[name] for name in found.estimate.names]
        held += all(i.low <= truth <= i.high for i, truth in zip(intervals, CONSTANTS[law], strict=True))
        slope = found.intervals[found.estimate.names[-1]]
        widths.append((slope.high - slope.low) / slope.value)
    assert held >= 95
    # and not because they are wide: an exponent is told to a third of itself or better
    assert sorted(widths)[50] < 0.34
