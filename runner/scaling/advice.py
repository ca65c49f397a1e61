"""A law and a budget -> what to train: parameters, tokens, the recipe's own model, steps and hours, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.diagnostics import Diagnostic, Span
from runner.plan.types import Plan
from runner.recipe.load import Refused
from runner.scaling.laws import Array
from runner.scaling.optimum import allocation, constrained, interval
from runner.scaling.points import FLOPS_PER_TOKEN
from runner.scaling.shape import Shape, nearest
from runner.scaling.types import Estimate, Interval, Warn

FAR = 100.0  # times the largest budget fitted, from which on a foretold optimum is a guess
BEYOND = 10.0
Planner = Callable[[Shape], Plan]
_SMALLEST, _LARGEST = 1e6, 2e12
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Advice:
    """`flops` = 6 N D of the law's optimum. `shape` is the model to train and `train_tokens` its tokens at the same
    FLOPs; `plan` what the box makes of it, None where no box was named; `hours` of training there."""

    flops: float
    params: Interval
    tokens: Interval
    loss: Interval
    shape: Shape
    train_tokens: int
    step_tokens: int
    steps: int
    plan: Plan | None
    hours: float | None
    warnings: tuple[Warn, ...]


def for_flops(
    estimate: Estimate,
    data: dict[str, Any],
    flops: float,
    base: dict[str, Any],
    step_tokens: int,
    planner: Planner | None = None,
    unique: float | None = None,
    shape: Shape | None = None,
) -> Advice:
    """`shape` where the model is chosen already. Raises Refused (R807) where none of that size can be made."""
    n, d = _optimal(estimate, estimate.values[None], flops, unique)
    drawn_n, drawn_d = _optimal(estimate, estimate.draws, flops, unique)
    best_n, best_d = float(n[0]), float(d[0])
    if shape is None and math.isfinite(best_n):
        shape = nearest(best_n, base)
    if shape is None:
        raise Refused(_no_model(best_n, base))
    loss = _losses(estimate, estimate.values[None], n, d, unique)
    drawn_loss = _losses(estimate, estimate.draws, drawn_n, drawn_d, unique)
    tokens = flops / (FLOPS_PER_TOKEN * shape.parameters)
    plan = planner(shape) if planner is not None else None
    step_tokens = plan.step_tokens if plan is not None else step_tokens
    steps = max(1, round(tokens / step_tokens))
    hours = None if plan is None else steps * step_tokens / (tokens_per_s(plan) * 3600)
    return Advice(
        flops=flops,
        params=interval(best_n, drawn_n),
        tokens=interval(best_d, drawn_d),
        loss=interval(float(loss[0]), drawn_loss),
        shape=shape,
        train_tokens=steps * step_tokens,
        step_tokens=step_tokens,
        steps=steps,
        plan=plan,
        hours=hours,
        warnings=_warnings(data, flops, best_n, best_d, plan),
    )


def for_hours(
    estimate: Estimate,
    data: dict[str, Any],
    hours: float,
    base: dict[str, Any],
    planner: Planner,
    unique: float | None = None,
) -> Advice:
    """The model that is the optimum of just the FLOPs its own speed on the box gives in that time: larger models take
    more FLOPs from a GPU, so that the budget depends on the model. Raises Refused (R807)."""

    def budget(params: float) -> tuple[float, Shape]:
        shape = nearest(params, base)
        if shape is None:
            raise Refused(_no_model(params, base))
        return FLOPS_PER_TOKEN * shape.parameters * tokens_per_s(planner(shape)) * hours * 3600, shape

    low, high = math.log(_smallest(base)), math.log(_LARGEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        best = float(_optimal(estimate, estimate.values[None], budget(math.exp(middle))[0], unique)[0][0])
        low, high = (middle, high) if best > math.exp(middle) else (low, middle)
        if high - low < 1e-3:
            break
    flops, shape = budget(math.exp((low + high) / 2))
    return for_flops(estimate, data, flops, base, 0, planner, unique, shape)


def tokens_per_s(plan: Plan) -> float:
    """Of the whole box. Raises Refused (R807) where its speed is not known."""
    if plan.speed is None or plan.speed.tokens_per_s_per_gpu.value <= 0:
        raise Refused(
            Diagnostic(
                "R807",
                f"nothing is known about the speed of `{plan.box}`",
                Span("<command line>"),
                help="name a box with GPUs, or give the budget as `--flops`",
            )
        )
    return plan.speed.tokens_per_s_per_gpu.value * max(1, plan.gpus)


def _smallest(base: dict[str, Any]) -> float:
    """The smallest size, by doubling, that a model with this vocabulary can have."""
    params = _SMALLEST
    while nearest(params, base) is None and params < _LARGEST:
        params *= 1.5
    return params


def _optimal(estimate: Estimate, values: Array, flops: float, unique: float | None) -> tuple[Array, Array]:
    if not len(values):
        return np.empty(0), np.empty(0)
    with np.errstate(all="ignore"):
        if unique is not None:
            return constrained(estimate, values, flops, unique)
        n, d = allocation(estimate.law, values, np.array([flops]))
    return n[:, 0], d[:, 0]


def _losses(estimate: Estimate, values: Array, n: Array, d: Array, unique: float | None) -> Array:
    """Of each row of parameters at its own optimum."""
    with np.errstate(all="ignore"):
        rows = [
            estimate.predict(values[[i]], n[[i]], d[[i]], d[[i]] if unique is None else np.minimum(d[[i]], unique))
            for i in range(len(values))
        ]
    return np.array([float(row[0, 0]) for row in rows])


def _warnings(data: dict[str, Any], flops: float, params: float, tokens: float, plan: Plan | None) -> tuple[Warn, ...]:
    found = []
    known = data.get("range") if isinstance(data.get("range"), dict) else {}
    top = _largest(known, "flops")
    if top is not None and flops > BEYOND * top:
        times = flops / top
        doubt = "a guess" if times > FAR else "an extrapolation"
        found.append(
            Warn("extrapolated", f"the budget is {times:,.0f} times the largest that was fitted: this is {doubt}")
        )
    for name, value in (("params", params), ("tokens", tokens)):
        limit = _largest(known, name)
        if limit is not None and value > BEYOND * limit:
            word = "model" if name == "params" else "number of tokens"
            found.append(Warn("extrapolated", f"the {word} is {value / limit:,.0f} times the largest that was fitted"))
    if plan is not None and plan.fits == "no":
        found.append(
            Warn(
                "does-not-fit",
                f"the model does not fit {plan.box} as the recipe stands: `runner plan --fit` finds what does",
            )
        )
    found += [
        Warn(str(w.get("kind")), f"the fit says: {w.get('message')}")
        for w in data.get("warnings", [])
        if isinstance(w, dict)
        and w.get("kind") in ("optimum-at-edge", "wide-intervals", "at-bound", "no-spread", "few-sizes")
    ]
    return tuple(found)


def _largest(known: Any, name: str) -> float | None:
    pair = known.get(name) if isinstance(known, dict) else None
    good = isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], (int, float)) and pair[1] > 0
    return float(pair[1]) if good else None  # type: ignore[index]


def _no_model(params: float, base: dict[str, Any]) -> Diagnostic:
    vocab = int(base.get("vocab_size", 0))
    return Diagnostic(
        "R807",
        f"no model of {params:.2g} parameters can be made" if math.isfinite(params) else "the law has no best size",
        Span("<command line>"),
        notes=(f"embeddings of {vocab:,} words alone take much of it",)
        if math.isfinite(params) and params < 1e8
        else (),
        help="name a larger budget, or a `--recipe` with a smaller vocabulary",
    )
