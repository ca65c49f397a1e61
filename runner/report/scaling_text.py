"""Fit -> the page a person reads: the law, its parameters with intervals, the optimum, what it foretells, doubts."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from runner.report.ink import Ink, count
from runner.scaling.fit import separate_intervals
from runner.scaling.optimum import allocation
from runner.scaling.outliers import spread
from runner.scaling.types import Fit, HeldOut, Interval, Warn

FORMULAS = {
    "chinchilla": "L(N, D) = E + A / N^alpha + B / D^beta",
    "kaplan": "L(N, D) = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D",
    "data-constrained": "L(N, D) = E + A / N'^alpha + B / D'^beta, repeated data worth less",
    "isoflop": "N_opt = k_n C^a, D_opt = k_d C^b, through the minima of parabolas",
    "envelope": "N_opt = k_n C^a, D_opt = k_d C^b, through the best run at each compute",
    "L(N)": "L(N) = (N_c / N)^alpha_N, the longest run of each size",
    "L(D)": "L(D) = (D_c / D)^alpha_D, the largest model of each number of tokens",
}
_NAME = 24  # columns of the first column
_EACH = 14


def page(fit: Fit, ink: Ink) -> list[str]:
    """Lines, without line ends."""
    return [
        *_head(fit, ink),
        "",
        *_parameters(fit.intervals, fit.level, ink),
        *_separate(fit, ink),
        "",
        *_optimum(fit, ink),
        *_minima(fit, ink),
        *_quality(fit, ink),
        *_warnings(fit.warnings, ink),
    ]


def _head(fit: Fit, ink: Ink) -> Iterator[str]:
    e = fit.estimate
    used, runs = int(fit.used.sum()), len(fit.points)
    counted = f"{runs} runs" if used == runs else f"{used} of {runs} runs"
    yield f"{ink.paint(e.law, 'bold')}: {FORMULAS[e.law]}"
    yield f"{counted}, {e.method}, {len(e.draws)} bootstrap samples, {fit.seconds:.2f} s"


def _parameters(intervals: dict[str, Interval], level: float, ink: Ink) -> Iterator[str]:
    heads = "".join(f"{head:>{_EACH}}" for head in ("value", f"{level:.0%} from", "to"))
    yield f"{ink.paint('parameter', 'bold')}{'':{_NAME - 9}}{heads}"
    for name, one in intervals.items():
        yield f"  {name:<{_NAME - 2}}{figure(one.value):>{_EACH}}{figure(one.low):>{_EACH}}{figure(one.high):>{_EACH}}"


def _separate(fit: Fit, ink: Ink) -> Iterator[str]:
    for one in fit.estimate.separate:
        yield ""
        yield FORMULAS[one.law]
        yield from _parameters(separate_intervals(one, fit.level), fit.level, ink)


def _optimum(fit: Fit, ink: Ink) -> Iterator[str]:
    o = fit.optimum
    if o is None:
        yield f"{ink.paint('optimum', 'bold')}{'':{_NAME - 7}}none: one of the law's terms is at zero"
        return
    title = f"{ink.paint('optimum', 'bold')}{'':{_NAME - 7}}"
    yield f"{title}N_opt ~ C^{o.a.value:.3f} ({o.a.low:.3f} to {o.a.high:.3f})"
    yield f"{'':{_NAME}}D_opt ~ C^{o.b.value:.3f} ({o.b.low:.3f} to {o.b.high:.3f})"
    yield f"  {'FLOPs':<{_NAME - 2}}{'parameters':>{_EACH}}{'tokens':>{_EACH}}{'tokens each':>{_EACH}}{'loss':>{_EACH}}"
    for flops, n, d, loss in optimum_rows(fit):
        words = (_amount(n), _amount(d), f"{d / n:.3g}", f"{loss:.3f}")
        yield f"  {f'{flops:.0e}':<{_NAME - 2}}" + "".join(f"{word:>{_EACH}}" for word in words)


def optimum_rows(fit: Fit) -> list[tuple[float, float, float, float]]:
    """FLOPs, parameters, tokens, loss at whole powers of ten: from within the runs to a hundred times beyond."""
    import numpy as np

    top = math.floor(math.log10(float(fit.points.flops.max())))
    rows = []
    for power in range(top - 1, top + 3):
        flops = 10.0**power
        values = fit.estimate.values[None]
        n, d = (float(x[0, 0]) for x in allocation(fit.estimate.law, values, np.array([flops])))
        loss = fit.estimate.predict(values, np.array([n]), np.array([d]), np.array([d]))
        rows.append((flops, n, d, float(loss[0, 0])))
    return rows


def _minima(fit: Fit, ink: Ink) -> Iterator[str]:
    if not fit.estimate.minima:
        return
    yield ""
    heads = ("parameters", "tokens", "loss", "runs")
    yield f"{ink.paint('best of each budget', 'bold')}{'':{_NAME - 19}}" + "".join(f"{h:>{_EACH}}" for h in heads)
    for m in fit.estimate.minima:
        words = (_amount(m.params), _amount(m.tokens), f"{m.loss:.3f}", str(len(m.indices)))
        edge = "  beyond the sizes run" if m.edge else ""
        yield f"  {f'{m.flops:.2e}':<{_NAME - 2}}" + "".join(f"{word:>{_EACH}}" for word in words) + edge


def _quality(fit: Fit, ink: Ink) -> Iterator[str]:
    yield ""
    error = fit.residuals[fit.used.astype(bool)]
    rmse = math.sqrt(float((error**2).mean()))
    told = f"{rmse:.2%} off on average (root mean square), {spread(error):.2%} but for outliers"
    if fit.estimate.law != "envelope":
        yield f"{ink.paint('runs it was fitted to', 'bold')}{'':{_NAME - 21}}{told}"
    if fit.heldout is not None:
        h = fit.heldout
        yield f"{ink.paint('runs beyond', 'bold')}{'':{_NAME - 11}}{foretold(h)}"
        yield f"{'':{_NAME}}{h.runs} runs of more than {h.up_to_flops:.2g} FLOPs, fitted to the {h.fitted_runs} below"


def foretold(h: HeldOut) -> str:
    if h.rmse_log is not None and h.mean_abs is not None and h.bias is not None:
        return f"{h.rmse_log:.2%} off, {h.mean_abs:.4f} in loss, measured less foretold {h.bias:+.4f}"
    if h.best_rmse_log is not None:
        return f"{h.best_rmse_log:.2%} off at the best run of each budget"
    return h.why


def _warnings(told: Sequence[Warn], ink: Ink) -> Iterator[str]:
    if told:
        yield ""
        yield ink.paint("doubts", "bold")
    for one in told:
        text = f"{one.kind}: {one.message}"
        yield from textwrap.wrap(
            text, ink.width, initial_indent="  - ", subsequent_indent="    ", break_long_words=False
        )


def comparison(fits: Sequence[tuple[str, Fit | None, str]], ink: Ink) -> list[str]:
    """Laws by their error beyond the budgets they were fitted to, the best first; what could not be fitted last."""
    heads = ("off beyond", "best runs", "off within", "N_opt ~ C^")
    lines = [f"{ink.paint('law', 'bold')}{'':{_NAME - 3}}" + "".join(f"{h:>{_EACH}}" for h in heads)]
    for law, fit, why in fits:
        if fit is None:
            lines.append(f"  {law:<{_NAME - 2}}{why}")
            continue
        h = fit.heldout
        beyond = "" if h is None or h.rmse_log is None else f"{h.rmse_log:.2%}"
        best = "" if h is None or h.best_rmse_log is None else f"{h.best_rmse_log:.2%}"
        within = "" if law == "envelope" else f"{spread(fit.residuals[fit.used.astype(bool)]):.2%}"
        slope = "" if fit.optimum is None else f"{fit.optimum.a.value:.3f}"
        lines.append(f"  {law:<{_NAME - 2}}" + "".join(f"{w:>{_EACH}}" for w in (beyond, best, within, slope)))
    known = next((fit.heldout for _, fit, _ in fits if fit is not None and fit.heldout is not None), None)
    if known is not None:
        lines += [
            "",
            f"beyond: {known.runs} runs of more than {known.up_to_flops:.2g} FLOPs; "
            f"best runs: the lowest loss of each of their {known.best_runs} budgets",
        ]
    return lines


def figure(value: float) -> str:
    """Four digits, without powers of ten where they can be read without."""
    if not math.isfinite(value):
        return "-"
    return (
        f"{value:.4g}"
        if 1e-3 <= abs(value) < 1e4 or value == 0
        else f"{value:.3e}"
        if abs(value) >= 1e7 or abs(value) < 1e-3
        else f"{value:,.0f}"
    )


def _amount(value: float) -> str:
    return count(round(value)) if math.isfinite(value) and value < 1e16 else f"{value:.1e}"
