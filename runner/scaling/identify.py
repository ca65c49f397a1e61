"""What makes a fit doubtful: runs that can't tell its parameters apart, and parameters that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from runner.scaling.laws import Array
from runner.scaling.optimum import allocation
from runner.scaling.outliers import residuals, spread
from runner.scaling.points import Points
from runner.scaling.types import Estimate, Interval, Optimum, Outlier, Warn

FEWEST_SIZES = 4
FEWEST_BUDGETS = 4
LEAST_RANGE = 4.0  # largest / smallest, of parameters and of tokens
LEAST_RATIO_SPREAD = 0.3  # standard deviation of log(tokens / parameters)
RUNS_PER_PARAMETER = 3
SMALL_SHARE = 1e-3  # of the loss: a term that does not matter
WIDE = 0.5  # half an interval, as a share of an exponent or of E
_SAME = 0.02


def warnings(
    points: Points,
    used: Array,
    estimate: Estimate,
    intervals: Mapping[str, Interval],
    outliers: tuple[Outlier, ...],
    optimum: Optimum | None,
) -> tuple[Warn, ...]:
    """In the order a reader should hear them."""
    kept = points.take(used.astype(bool))
    found = [*_outliers(outliers, len(points)), *_design(kept, estimate)]
    if estimate.minima or estimate.law in ("isoflop", "envelope"):
        found += _minima(estimate)
    if estimate.model is not None:
        found += [*_edge(kept, estimate), *_bounds(kept, estimate), *_misfit(kept, estimate)]
        if not estimate.converged:
            found.append(
                Warn("not-converged", "the minimum was not reached: the parameters are where the search stopped")
            )
    found += _wide(intervals, optimum)
    return tuple(found)


def _outliers(outliers: tuple[Outlier, ...], runs: int) -> Iterator[Warn]:
    gone = [o for o in outliers if not o.used]
    kept = [o for o in outliers if o.used]
    if gone:
        yield Warn(
            "outliers-left-out",
            f"{len(gone)} of {runs} runs {_is(gone)} left out, which no noise explains: {_places(gone)}; "
            "`--outliers keep` fits them too",
        )
    if kept:
        yield Warn(
            "outliers-kept",
            f"{len(kept)} of {runs} runs {_is(kept)} far from the law and counted all the same: {_places(kept)}; "
            "`--outliers drop` leaves them out",
        )


def _is(listed: list[Outlier]) -> str:
    return "is" if len(listed) == 1 else "are"


def _places(listed: list[Outlier], most: int = 6) -> str:
    shown = [f"{o.place} ({o.sigmas:+.0f} sigmas)" for o in listed[:most]]
    return ", ".join(shown) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _design(points: Points, estimate: Estimate) -> Iterator[Warn]:
    sizes, lengths = distinct(points.params), distinct(points.tokens)
    if sizes < FEWEST_SIZES:
        yield Warn("few-sizes", f"{_count(sizes, 'model size')}: the fall with parameters needs {FEWEST_SIZES} or more")
    if lengths < FEWEST_SIZES and estimate.law != "L(N)":
        yield Warn(
            "few-token-counts",
            f"{_count(lengths, 'number')} of tokens: the fall with data needs {FEWEST_SIZES} or more",
        )
    for word, values, count in (("parameters", points.params, sizes), ("tokens", points.tokens, lengths)):
        reach = float(values.max() / values.min())
        if reach < LEAST_RANGE and count > 1:
            yield Warn(
                "narrow-range",
                f"{word} differ by a factor of {reach:.2g} alone; {LEAST_RANGE:.0f} is the least to tell a law",
            )
    ratio = float(np.std(np.log(points.tokens / points.params)))
    if ratio < LEAST_RATIO_SPREAD and sizes > 1:
        yield Warn(
            "no-spread",
            "all runs have about the same tokens per parameter: what parameters and what tokens do can't be told apart",
        )
    free = len(estimate.names)
    if estimate.model is not None and len(points) < RUNS_PER_PARAMETER * free:
        yield Warn(
            "few-runs",
            f"{len(points)} runs for {free} parameters: {RUNS_PER_PARAMETER * free} or more give intervals to trust",
        )
    if estimate.law == "data-constrained" and float(np.max(points.tokens / points.unique)) < 1.5:
        yield Warn("no-repeats", "no run repeats its data: R_D and R_N can't be told")


def distinct(values: Array) -> int:
    """How many differ by more than a little."""
    ordered = np.sort(np.log(values))
    return 1 + int((np.diff(ordered) > _SAME).sum())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _minima(estimate: Estimate) -> Iterator[Warn]:
    number = len(estimate.minima)
    if estimate.law == "isoflop" and number < FEWEST_BUDGETS:
        yield Warn("few-budgets", f"{number} budgets with a minimum: a power law needs {FEWEST_BUDGETS} or more")
    edges = [m for m in estimate.minima if m.edge]
    if edges:
        listed = ", ".join(f"{m.flops:.1e}" for m in edges)
        yield Warn(
            "optimum-at-edge", f"the best size lies outside those that were run at {listed} FLOPs: add sizes beyond"
        )
    if estimate.law == "envelope":
        sizes = len({m.params for m in estimate.minima})
        if sizes < FEWEST_SIZES:
            yield Warn(
                "few-sizes", f"{_count(sizes, 'size')} on the envelope: a power law needs {FEWEST_SIZES} or more"
            )


def _edge(points: Points, estimate: Estimate) -> Iterator[Warn]:
    """Whether the optimum, at the middle of the budgets, lies among the runs."""
    middle = np.array([float(np.exp(np.median(np.log(points.flops))))])
    with np.errstate(all="ignore"):
        n, d = allocation(estimate.law, estimate.values[None], middle)
    ratio = float(d[0, 0] / n[0, 0])
    seen = points.tokens / points.params
    if not np.isfinite(ratio):
        yield Warn("no-optimum", "the law has no best size: one of its exponents is zero")
    elif not seen.min() <= ratio <= seen.max():
        yield Warn(
            "optimum-at-edge",
            f"the best tokens per parameter, {ratio:.3g}, lie outside those that were run "
            f"({seen.min():.3g} to {seen.max():.3g}): the optimum is extrapolated",
        )


def _bounds(points: Points, estimate: Estimate) -> Iterator[Warn]:
    named = dict(zip(estimate.names, (float(v) for v in estimate.values), strict=True))
    lowest = float(points.loss.min())
    if "E" in named:
        terms = {
            "E": named["E"],
            "A": float(np.max(named["A"] * points.params ** -named["alpha"])),
            "B": float(np.max(named["B"] * points.tokens ** -named["beta"])),
        }
        for name, size in terms.items():
            if not size > SMALL_SHARE * lowest:
                yield Warn("at-bound", f"`{name}` is at its bound, zero: the runs show nothing of that term")
    for name, value in named.items():
        if name.startswith(("alpha", "beta")) and not 0.005 < value < 3:
            yield Warn(
                "at-bound", f"`{name}` is {value:.3g}, which no law of language models has: the runs can't tell it"
            )
        if name.startswith("R_") and not 1e-2 < value < 1e3:
            yield Warn("at-bound", f"`{name}` is {value:.3g}: the runs can't tell how fast repetition loses its worth")


def _misfit(points: Points, estimate: Estimate) -> Iterator[Warn]:
    """Residuals that go with size or data: the form is not that of the runs."""
    error = residuals(estimate, points)
    if spread(error) < 1e-4 or len(points) < 20:
        return
    limited = np.clip(error, -3 * spread(error), 3 * spread(error))
    for word, values in (("compute", points.flops), ("tokens per parameter", points.tokens / points.params)):
        x = np.log(values)
        if np.std(x) < 0.1:
            continue
        bent = np.polyfit(x - x.mean(), limited, 2)
        explained = 1 - np.var(limited - np.polyval(bent, x - x.mean())) / np.var(limited)
        if explained > 0.25:
            yield Warn(
                "misfit",
                f"the residuals bend with {word} ({explained:.0%} of their variance): the law is not quite theirs",
            )


def _wide(intervals: Mapping[str, Interval], optimum: Optimum | None) -> Iterator[Warn]:
    wide = []
    for name, one in intervals.items():
        if name not in ("E", "alpha", "beta", "alpha_N", "alpha_D", "a", "b") or not np.isfinite(one.high - one.low):
            continue
        if one.high - one.low > 2 * WIDE * abs(one.value):
            wide.append(f"`{name}`")
    if optimum is not None and optimum.a.high - optimum.a.low > WIDE and "`a`" not in wide:
        wide.append("the exponent of N_opt")
    if wide:
        verb = "has an interval" if len(wide) == 1 else "have intervals"
        yield Warn(
            "wide-intervals",
            f"{', '.join(wide)} {verb} about as wide as the value: more runs, farther apart, are needed",
        )
