"""How much of the quality is left, and how sure that is: from samples that were looked at before and after."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runner.jobs.quantize.recovery import of_tasks, of_text, sentence

pytestmark = pytest.mark.slow


def test_of_text_it_is_perplexity_before_over_after() -> None:
    before, after, tokens = [30.0, 50.0], [33.0, 52.0], [10, 20]
    found = of_text(before, after, tokens, 0.9, 0)
    perplexities = [math.exp(sum(nll) / sum(tokens)) for nll in (before, after)]
    assert found.value == pytest.approx(perplexities[0] / perplexities[1])
    assert not found.passed
    assert found.samples == 2


def test_nothing_lost_is_sure() -> None:
    found = of_text([30.0, 50.0, 20.0], [30.0, 50.0, 20.0], [10, 20, 10], 0.99, 0)
    assert (found.value, found.low, found.high, found.decided, found.passed) == (1.0, 1.0, 1.0, True, True)


def test_pairs_are_narrower_than_their_texts_differ() -> None:
    """Windows between 10 and 100 nats, all of which lose a hundredth of a nat per token."""
    rng = np.random.default_rng(1)
    before = rng.uniform(10, 100, 200)
    found = of_text(before, before + 0.1 + rng.normal(0, 0.02, 200), [10] * 200, 0.98, 0)
    assert found.value == pytest.approx(math.exp(-0.01), abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 2e-3
    assert (found.decided, found.passed) == (True, True)


def test_the_interval_holds_what_is_true() -> None:
    """Of 200 experiments whose true recovery is exp(-0.02), at most a tenth may miss it with 95% intervals."""
    rng = np.random.default_rng(2)
    missed = 0
    for seed in range(200):
        lost = rng.normal(0.02, 0.05, 60) * 100
        found = of_text(np.zeros(60), lost, [100] * 60, 0.9, seed)
        assert found.low is not None
        assert found.high is not None
        missed += not found.low <= math.exp(-0.02) <= found.high
    assert missed <= 20


def test_of_tasks_it_is_a_ratio_of_mean_accuracies() -> None:
    easy, hard = [1.0] * 80 + [0.0] * 20, [1.0] * 5 + [0.0] * 5
    worse = [1.0] * 72 + [0.0] * 28
    found = of_tasks([easy, hard], [worse, hard], 0.95, 0)
    assert found.value == pytest.approx((0.72 + 0.5) / (0.8 + 0.5))
    assert found.samples == 110
    assert not found.passed


def test_few_questions_decide_nothing() -> None:
    was = [1.0] * 14 + [0.0] * 6
    found = of_tasks([was], [[0.0, *was[1:]]], 0.95, 0)
    assert found.value == pytest.approx(13 / 14)
    assert not found.decided
    assert sentence("task", found).endswith("; 20 samples are too few to decide that")


def test_who_knew_nothing_can_lose_nothing() -> None:
    found = of_tasks([[0.0, 0.0]], [[1.0, 0.0]], 0.95, 0)
    assert (found.value, found.decided, found.passed) == (None, False, True)
    assert "nothing to lose" in sentence("task", found)


@pytest.mark.parametrize("said", [math.nan, math.inf])
def test_a_model_that_says_no_number_has_lost_all(said: float) -> None:
    found = of_text([1.0, 2.0], [1.0, said], [3, 3], 0.95, 0)
    assert (found.value, found.passed, found.decided) == (0.0, False, True)


def test_the_same_seed_draws_the_same() -> None:
    was, now = [1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]
    assert of_tasks([was], [now], 0.9, 3) == of_tasks([was], [now], 0.9, 3)
