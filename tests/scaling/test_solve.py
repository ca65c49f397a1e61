"""The objective, its slopes, and the two routes to its minimum."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import nnls

from runner.scaling import many_start, parametric, solve, varpro
from runner.scaling.laws import PowerLaw
from tests.scaling.synthetic import CONSTANTS, design, losses, points, runs

LAWS = ("chinchilla", "kaplan", "data-constrained")


@pytest.mark.parametrize("name", LAWS)
def test_slopes_are_those_of_the_prediction(name: str) -> None:
    params, tokens = design(4, 4)
    at = points(params, tokens, losses("chinchilla", params, tokens), tokens / 3).inputs()
    law = parametric.law_of(name)
    theta = law.theta(np.array([CONSTANTS[name]]), at) + 0.05
    found, slopes = law.slopes(theta, at)
    assert found == pytest.approx(law.predict(theta, at))
    for i in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[i] = 1e-5
        difference = (law.predict(theta + step, at) - law.predict(theta - step, at)) / 2e-5
        assert slopes[0, :, i] == pytest.approx(difference[0], abs=1e-7)


@pytest.mark.parametrize("name", LAWS)
def test_natural_parameters_and_back(name: str) -> None:
    at = runs("chinchilla", 0, budgets=4, sizes=4).inputs()
    law = parametric.law_of(name)
    given = np.array([CONSTANTS[name]])
    assert law.natural(law.theta(given, at), at) == pytest.approx(given, rel=1e-9)


def test_chinchilla_predicts_what_its_formula_says() -> None:
    """By hand: E + A / N^alpha + B / D^beta with round figures."""
    found = losses(
        "chinchilla", np.array([1e8, 1e10]), np.array([1e9, 1e12]), constants=(2.0, 400.0, 4000.0, 0.25, 0.5)
    )
    assert found == pytest.approx([2 + 400 / 100 + 4000 / 10**4.5, 2 + 400 / 10**2.5 + 4000 / 1e6])


def test_kaplan_predicts_what_its_formula_says() -> None:
    found = losses("kaplan", np.array([1e9]), np.array([1e10]), constants=(1e13, 1e12, 0.05, 0.1))
    assert found == pytest.approx([((1e4) ** 0.5 + 100.0) ** 0.1])


def test_repeated_tokens_are_worth_less() -> None:
    """Muennighoff et al.: D' = U + U R* (1 - exp(-R / R*)); small models have no excess parameters."""
    constants = (1.87, 521.0, 1488.0, 0.353, 0.353, 15.0, 5.0)
    unique, epochs, n = 1e10, 4.0, 1e6
    worth = unique * (1 + 15.0 * (1 - np.exp(-(epochs - 1) / 15.0)))
    params, tokens = np.array([n]), np.array([unique * epochs])
    found = losses("data-constrained", params, tokens, np.array([unique]), constants)
    assert found == pytest.approx([1.87 + 521 / n**0.353 + 1488 / worth**0.353])
    fresh = losses("data-constrained", params, tokens, tokens, constants)
    assert fresh == pytest.approx(losses("chinchilla", params, tokens, constants=constants[:5]))


def test_nonnegative_least_squares_is_scipys() -> None:
    rng = np.random.default_rng(0)
    terms, weights = rng.normal(size=(40, 12, 3)), rng.uniform(0.1, 2, size=(40, 12))
    found = varpro.nonnegative(terms, weights)
    for t, w, x in zip(terms, weights, found, strict=True):
        want, _ = nnls(t * np.sqrt(w)[:, None], np.sqrt(w))
        assert x == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_no_general_optimizer_finds_a_lower_objective(seed: int) -> None:
    at = runs("chinchilla", seed, noise=0.008).inputs()
    law, found = parametric.law_of("chinchilla"), varpro.fit(at)
    assert found.converged[0]
    rng = np.random.default_rng(seed)
    for _ in range(4):
        start = found.theta[0] * rng.uniform(0.97, 1.03, size=5)
        other = scipy_minimize(
            lambda x: float(solve.objective(law, x[None], at)[0]) * 1e4,
            start,
            method="Nelder-Mead",
            options={"maxiter": 4000},
        )
        assert found.objective[0] <= other.fun / 1e4 * (1 + 1e-9)


@pytest.mark.parametrize("noise", [0.003, 0.02])
def test_the_fast_route_is_the_many_start_one_and_fifty_times_faster(noise: float) -> None:
    """Every 450th of the published starts; all of them take 450 times as long."""
    given = runs("chinchilla", 7, noise=noise)
    at = given.inputs()
    varpro.fit(at)
    start = time.perf_counter()
    fast = varpro.fit(at)
    fast_s = time.perf_counter() - start
    starts = many_start.published_starts()[130::450]
    start = time.perf_counter()
    slow = many_start.fit(at, starts=starts)
    slow_s = (time.perf_counter() - start) * len(many_start.published_starts()) / len(starts)
    law = parametric.law_of("chinchilla")
    assert slow_s > 50 * fast_s
    assert fast.objective[0] <= slow.objective[0] * (1 + 1e-7) + 1e-16
    assert law.natural(fast.theta, at)[0] == pytest.approx(law.natural(slow.theta, at)[0], rel=2e-3)


def test_the_published_starts_are_those_of_the_paper() -> None:
    assert len(many_start.published_starts()) == 4500


@pytest.mark.parametrize("name", ["chinchilla", "kaplan"])
def test_without_noise_the_constants_come_back(name: str) -> None:
    found = parametric.estimate(name, runs(name, 0, noise=0.0), samples=0)
    assert found.values == pytest.approx(CONSTANTS[name], rel=1e-3)


def test_data_constrained_constants_come_back() -> None:
    params, tokens = (np.tile(x, 4) for x in design(6, 6, 1e18, 1e21))
    unique = tokens / np.repeat([1.0, 3.0, 10.0, 40.0], 36)
    given = points(params, tokens, losses("data-constrained", params, tokens, unique), unique)
    found = parametric.estimate("data-constrained", given, samples=0)
    assert found.values == pytest.approx(CONSTANTS["data-constrained"], rel=0.02)


def test_separate_laws_of_kaplan() -> None:
    """With the other in plenty each is a straight line in logs."""
    n = np.geomspace(1e6, 1e9, 8)
    found = (8.8e13 / n) ** 0.076
    given = points(n, np.full(8, 1e13), found)
    at = given.inputs()
    solved = solve.minimise(PowerLaw("N"), np.array([[at.log_loss.mean(), 0.1]]), at)
    assert PowerLaw("N").natural(solved.theta, at)[0] == pytest.approx([8.8e13, 0.076], rel=1e-6)


def test_weights_count_runs_several_times() -> None:
    given = runs("chinchilla", 3, budgets=5, sizes=5)
    times = np.random.default_rng(1).integers(0, 3, len(given))
    repeated = given.take(np.repeat(np.arange(len(given)), times)).inputs()
    at = given.inputs()
    law = parametric.law_of("chinchilla")
    by_weight = solve.minimise(law, varpro.fit(at).theta, at, times[None].astype(float))
    assert by_weight.objective[0] == pytest.approx(varpro.fit(repeated).objective[0], rel=1e-6)
