"""Whole fits: outliers, doubts, approaches 1 and 2, optimum, and what is foretold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runner.recipe.load import Refused
from runner.scaling import bootstrap, envelope, holdout, isoflop, outliers
from runner.scaling.fit import Settings, fit
from runner.scaling.optimum import allocation, constrained
from runner.scaling.types import Fit
from tests.scaling.synthetic import CONSTANTS, design, losses, points, runs


def fitted(given: Any, **settings: Any) -> Fit:
    return fit(given, Settings(**{"samples": 60, **settings}))


def kinds(found: Fit) -> set[str]:
    return {w.kind for w in found.warnings}


def spoilt(seed: int, which: list[int], by: float) -> Any:
    given = runs("chinchilla", seed)
    loss = given.loss.copy()
    loss[which] *= by
    return points(given.params, given.tokens, loss)


# --- outliers ---


def test_gross_outliers_are_left_out_and_named() -> None:
    clean, bad = fitted(runs("chinchilla", 1)), fitted(spoilt(1, [4, 30], 1.3))
    assert [o.index for o in bad.outliers if not o.used] == [4, 30] or [
        o.index for o in bad.outliers if not o.used
    ] == [30, 4]
    assert bad.outliers[0].place in ("runs.csv:6", "runs.csv:32")
    assert bad.used.sum() == len(bad.points) - 2
    assert "outliers-left-out" in kinds(bad)
    assert bad.estimate.values == pytest.approx(clean.estimate.values, rel=0.25)
    assert "outliers-left-out" not in kinds(clean)


def test_outliers_can_be_kept_and_are_named_all_the_same() -> None:
    found = fitted(spoilt(1, [4, 30], 1.3), outliers="keep")
    assert found.used.all()
    assert {o.index for o in found.outliers} >= {4, 30}
    assert "outliers-kept" in kinds(found)


def test_lesser_ones_are_named_and_dropped_on_demand_alone() -> None:
    given = spoilt(1, [20], 1.03)
    found = fitted(given)
    assert (found.outliers[0].index, found.outliers[0].used) == (20, True)
    dropped = fitted(given, outliers="drop")
    assert (dropped.outliers[0].index, dropped.outliers[0].used) == (20, False)


def test_a_law_that_many_runs_contradict_keeps_them_all() -> None:
    found = fitted(spoilt(1, list(range(0, 63, 6)), 1.5))
    assert found.used.all()


def test_runs_without_noise_have_no_outliers() -> None:
    found = fitted(runs("chinchilla", 0, noise=0.0))
    assert found.outliers == ()
    assert kinds(found) == set()


def test_spread_is_a_standard_deviation_but_for_outliers() -> None:
    normal = np.random.default_rng(0).normal(size=4000) * 0.3
    normal[:40] = 50
    assert outliers.spread(normal) == pytest.approx(0.3, rel=0.05)


# --- doubts ---


@pytest.mark.parametrize(
    ("kind", "params", "tokens"),
    [
        ("few-sizes", np.repeat([1e8, 1e9], 6), np.tile(np.geomspace(1e9, 1e11, 6), 2)),
        ("few-token-counts", np.tile(np.geomspace(1e7, 1e10, 6), 3), np.repeat([1e9, 1e10, 1e11], 6)),
        ("narrow-range", np.repeat(np.linspace(1e9, 2e9, 5), 5), np.tile(np.geomspace(1e9, 1e11, 5), 5)),
        ("no-spread", np.geomspace(1e7, 1e10, 20), 20 * np.geomspace(1e7, 1e10, 20) * (1 + 0.01 * np.arange(20) % 3)),
        ("few-runs", *design(3, 3)),
        ("optimum-at-edge", np.tile(np.geomspace(1e9, 1e10, 5), 4), np.repeat(np.geomspace(3e8, 2e9, 4), 5)),
    ],
)
def test_runs_that_cant_tell_a_law(kind: str, params: Any, tokens: Any) -> None:
    noise = np.exp(np.random.default_rng(2).normal(size=len(params)) * 0.002)
    found = fitted(points(params, tokens, losses("chinchilla", params, tokens) * noise))
    assert kind in kinds(found)
    assert kind not in kinds(fitted(runs("chinchilla", 2)))


def test_a_term_the_runs_show_nothing_of_is_at_its_bound() -> None:
    params, tokens = design()
    found = fitted(points(params, tokens, 1.5 * (params / 1e8) ** -0.1))
    assert "at-bound" in kinds(found)


def test_noise_that_drowns_the_law_gives_wide_intervals() -> None:
    assert "wide-intervals" in kinds(fitted(runs("chinchilla", 0, noise=0.1, budgets=5, sizes=5)))


def test_another_law_shows_in_its_residuals() -> None:
    given = runs("chinchilla", 0, noise=0.002, budgets=9, sizes=9, low=1e17, high=1e23)
    assert "misfit" in kinds(fitted(given, law="kaplan"))
    assert "misfit" not in kinds(fitted(given))


@pytest.mark.parametrize("law", ["chinchilla", "kaplan", "isoflop", "data-constrained", "envelope"])
def test_too_few_runs_are_refused(law: str) -> None:
    given = runs("chinchilla", 0).take(np.arange(4))
    with pytest.raises(Refused) as caught:
        fitted(given, law=law)
    assert [d.code for d in caught.value.diagnostics] == ["R804"]


@pytest.mark.parametrize("law", ["chinchilla", "kaplan", "data-constrained"])
def test_equal_runs_end_in_doubts_not_in_an_error(law: str) -> None:
    same = points(np.full(12, 1e9), np.full(12, 1e10), np.full(12, 2.5))
    assert {"few-sizes", "few-token-counts"} <= kinds(fitted(same, law=law))


# --- approaches 1 and 2 ---


def truth(flops: Any) -> Any:
    return allocation("chinchilla", np.array([CONSTANTS["chinchilla"]]), np.asarray(flops))


def test_parabolas_find_the_best_size_of_each_budget() -> None:
    found = isoflop.estimate(runs("chinchilla", 0, noise=0.0, sizes=9), samples=0)
    assert found is not None
    assert len(found.minima) == 9
    n, d = truth([m.flops for m in found.minima])
    assert [m.params for m in found.minima] == pytest.approx(n[0], rel=0.1)
    assert [m.tokens for m in found.minima] == pytest.approx(d[0], rel=0.1)
    a = 0.3658 / (0.3478 + 0.3658)
    assert found.values[:2] == pytest.approx([a, 1 - a], abs=0.02)


def test_intervals_of_approach_2_hold_its_exponent() -> None:
    clean = isoflop.estimate(runs("chinchilla", 0, noise=0.0), samples=0)
    assert clean is not None  # a parabola is not quite the law: what it finds without noise
    held = 0
    for seed in range(60):
        found = isoflop.estimate(runs("chinchilla", seed, noise=0.002), samples=200)
        assert found is not None
        low, high = bootstrap.alone(found.draws[:, 0], 0.95)
        held += low <= clean.values[0] <= high
    assert held >= 55


def test_a_best_size_beyond_those_run_is_told() -> None:
    params = np.tile(np.geomspace(2e9, 2e10, 6), 4)
    flops = np.repeat(np.geomspace(1e20, 8e20, 4), 6)
    tokens = flops / (6 * params)
    found = fitted(points(params, tokens, losses("chinchilla", params, tokens)), law="isoflop")
    assert "optimum-at-edge" in kinds(found)


def test_the_envelope_finds_the_exponent() -> None:
    params = np.repeat(np.geomspace(3e7, 3e10, 22), 40)
    tokens = np.tile(np.geomspace(1e8, 3e12, 40), 22)
    found = envelope.estimate(points(params, tokens, losses("chinchilla", params, tokens)), samples=20)
    assert found is not None
    assert found.values[0] == pytest.approx(0.3658 / (0.3478 + 0.3658), abs=0.03)


def test_a_power_law_with_an_offset_is_found() -> None:
    c = np.log(np.geomspace(1e18, 1e22, 9))
    loss = 1.7 + 900 * np.exp(-0.15 * c)
    level, scale, gamma = isoflop.offset_power_law(c, loss[None], np.ones((1, 9)))
    again = level[0] + scale[0] * np.exp(-gamma[0] * c)
    assert again == pytest.approx(loss, rel=1e-3)
    assert level[0] == pytest.approx(1.7, abs=0.05)


# --- optimum ---


def test_the_optimum_is_the_lowest_loss_at_its_budget() -> None:
    for law in ("chinchilla", "kaplan"):
        flops = 1e21
        n = np.geomspace(1e7, 1e12, 20001)
        loss = losses(law, n, flops / (6 * n))
        best, tokens = allocation(law, np.array([CONSTANTS[law]]), np.array([flops]))
        assert best[0, 0] == pytest.approx(n[np.argmin(loss)], rel=2e-3)
        assert 6 * best[0, 0] * tokens[0, 0] == pytest.approx(flops)


def test_exponents_add_up_to_one() -> None:
    found = fitted(runs("chinchilla", 3)).optimum
    assert found is not None
    assert found.a.value + found.b.value == pytest.approx(1)
    assert found.a.low < 0.3658 / (0.3478 + 0.3658) < found.a.high


def test_little_data_is_repeated_and_the_model_smaller_than_with_much() -> None:
    params, tokens = (np.tile(x, 3) for x in design(6, 6, 1e18, 1e21))
    unique = tokens / np.repeat([1.0, 4.0, 20.0], 36)
    given = points(params, tokens, losses("data-constrained", params, tokens, unique), unique)
    e = fitted(given, law="data-constrained", samples=0, holdout=0).estimate
    much, _ = constrained(e, e.values[None], 1e21, 1e13)
    little, epochs = constrained(e, e.values[None], 1e21, 5e9)
    assert much[0] == pytest.approx(truth([1e21])[0][0, 0], rel=0.5)
    assert epochs[0] > 2 * 5e9
    assert little[0] != pytest.approx(much[0], rel=0.02)


# --- beyond ---


def test_the_largest_budgets_are_held_out_whole() -> None:
    given = runs("chinchilla", 0)
    held, up_to = holdout.split(given, 0.2)
    assert held.sum() == 14
    assert given.flops[held].min() > up_to == given.flops[~held].max()


def test_a_law_foretells_its_own_runs_and_another_law_does_not() -> None:
    given = runs("chinchilla", 5, noise=0.002)
    right, wrong = fitted(given).heldout, fitted(given, law="kaplan").heldout
    assert right is not None
    assert wrong is not None
    assert right.rmse_log is not None
    assert wrong.rmse_log is not None
    assert right.rmse_log < 0.006 < wrong.rmse_log
    assert right.runs == wrong.runs == 14


def test_held_out_runs_have_no_part_in_the_fit_that_foretells_them() -> None:
    given = runs("chinchilla", 5)
    held, _ = holdout.split(given)
    loss = given.loss.copy()
    loss[held] *= 2
    one, two = fitted(given).heldout, fitted(points(given.params, given.tokens, loss), outliers="keep").heldout
    assert one is not None
    assert two is not None
    assert two.bias == pytest.approx((one.bias or 0) + float(given.loss[held].mean()), rel=1e-6)


def test_draws_are_the_same_for_the_same_seed() -> None:
    given = runs("chinchilla", 5)
    assert (fitted(given, seed=3).estimate.draws == fitted(given, seed=3).estimate.draws).all()
    assert (fitted(given, seed=3).estimate.draws != fitted(given, seed=4).estimate.draws).any()


def test_simultaneous_limits_hold_that_share_of_rows() -> None:
    drawn = np.random.default_rng(0).normal(size=(4000, 5))
    low, high = bootstrap.together(drawn, 0.95)
    inside = ((drawn >= low) & (drawn <= high)).all(axis=1).mean()
    assert 0.95 < inside < 0.975
    assert (high > 2.3).all()  # of one alone it would be 1.96
