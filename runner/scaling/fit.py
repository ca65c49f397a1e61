"""Points -> Fit: a law fitted, its outliers named, its intervals, its warnings and what it foretells."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from runner.diagnostics import Diagnostic, Span
from runner.recipe.load import Refused
from runner.scaling import bootstrap, envelope, holdout, identify, isoflop, outliers, parametric
from runner.scaling.optimum import exponents
from runner.scaling.points import Points
from runner.scaling.solve import DELTA
from runner.scaling.types import LEVEL, PARAMETRIC, Estimate, Fit, HeldOut, Interval

SAMPLES = 500


@dataclass(frozen=True, slots=True)
class Settings:
    law: str = "chinchilla"
    method: str = "fast"
    samples: int = SAMPLES
    seed: int = 0
    delta: float = DELTA
    outliers: str = "auto"
    holdout: float = holdout.SHARE
    level: float = LEVEL


def fit(points: Points, settings: Settings) -> Fit:
    """Raises Refused (R804) with too few runs for the law."""
    start = time.perf_counter()
    _enough(points, settings.law)
    used, _ = outliers.choose(points, lambda part: _screen(part, settings), settings.outliers)
    kept = points.take(used)
    estimate = estimate_of(kept, settings)
    if estimate is None:
        raise Refused(_none(points, settings.law))
    error = outliers.residuals(estimate, points)
    named = outliers.named(points, error, used) if settings.law in PARAMETRIC else ()
    intervals = _intervals(estimate, settings.level)
    optimum = exponents(estimate, settings.level)
    told = identify.warnings(points, used.astype(float), estimate, intervals, named, optimum)
    heldout = held_out(points, settings) if settings.holdout else None
    seconds = time.perf_counter() - start
    return Fit(
        estimate, points, used.astype(float), intervals, error, named, optimum, heldout, told, seconds, settings.level
    )


def estimate_of(points: Points, settings: Settings) -> Estimate | None:
    if settings.law == "isoflop":
        return isoflop.estimate(points, settings.samples, settings.seed)
    if settings.law == "envelope":
        return envelope.estimate(points, min(settings.samples, 200), settings.seed)
    if len(points) <= len(parametric.law_of(settings.law).names):
        return None
    return parametric.estimate(settings.law, points, settings.method, settings.samples, settings.seed, settings.delta)


def held_out(points: Points, settings: Settings) -> HeldOut | None:
    """What the same law, fitted in the same way to the smaller budgets, says of the largest."""
    plain = replace(settings, samples=0, method="fast")

    def refit(part: Points) -> Estimate | None:
        if settings.law not in PARAMETRIC:
            return estimate_of(part, plain)
        if len(part) <= len(parametric.law_of(settings.law).names):
            return None
        return outliers.choose(part, lambda some: _screen(some, plain), settings.outliers)[1]

    return holdout.evaluate(points, refit, settings.holdout)


def _screen(points: Points, settings: Settings) -> Estimate:
    """The fit that outliers are told by: of approaches 1 and 2, which give no loss for each run, Chinchilla's law."""
    law = settings.law if settings.law in PARAMETRIC else "chinchilla"
    return parametric.estimate(law, points, "fast", 0, settings.seed, settings.delta)


def _intervals(estimate: Estimate, level: float) -> dict[str, Interval]:
    """Such that all of a law's parameters lie in theirs at once in the share `level` of samples."""
    missing = float("nan")
    if not len(estimate.draws):
        return {n: Interval(float(v), missing, missing) for n, v in zip(estimate.names, estimate.values, strict=True)}
    drawn = np.nan_to_num(estimate.draws, nan=0.0, posinf=1e300)
    low, high = bootstrap.together(drawn, level)
    rows = zip(estimate.names, estimate.values, low, high, strict=True)
    return {name: Interval(float(v), min(float(lo), float(v)), max(float(hi), float(v))) for name, v, lo, hi in rows}


def separate_intervals(estimate: Estimate, level: float) -> dict[str, Interval]:
    return _intervals(estimate, level)


def _enough(points: Points, law: str) -> None:
    needed = len(parametric.law_of(law).names) + 1 if law in PARAMETRIC else 2 * isoflop.LEAST_RUNS
    if len(points) < needed:
        runs = f"{len(points)} run" + ("" if len(points) == 1 else "s")
        raise Refused(
            Diagnostic(
                "R804",
                f"{runs}: {_called(law)} needs {needed} or more",
                Span(points.places[0].file) if points.places else Span("<command line>"),
                notes=("with as many runs as parameters any law fits, and nothing is learned",),
                help="add runs of other sizes and numbers of tokens",
            )
        )


def _none(points: Points, law: str) -> Diagnostic:
    if law == "envelope":
        what = "no size but the smallest or the largest is ever the best"
        why = (
            "approach 1 compares sizes at equal FLOPs along their training: each size needs runs at several FLOP counts"
        )
    else:
        what = f"fewer than {isoflop.LEAST_BUDGETS} budgets have {isoflop.LEAST_RUNS} sizes and a minimum among them"
        why = "approach 2 fits a parabola to runs of about equal FLOPs (within a fifth) and different sizes"
    help = "`--law chinchilla` fits runs of any sizes and tokens"
    return Diagnostic("R804", what, Span(points.places[0].file), notes=(why,), help=help)


def _called(law: str) -> str:
    return {"isoflop": "approach 2", "envelope": "approach 1"}.get(law, f"the {law} law")
