"""What a fit is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.scaling.laws import Array, Inputs, Law
from runner.scaling.points import Points

LEVEL = 0.95
PARAMETRIC = ("chinchilla", "kaplan", "data-constrained")
LAWS = (*PARAMETRIC[:2], "isoflop", "data-constrained", "envelope")


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Warn:
    """What makes a fit doubtful; `kind` is a stable word, `message` a sentence."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Outlier:
    """A run far from the law: `sigmas` robust standard deviations. `used` says whether the fit counts it."""

    index: int
    place: str
    predicted: float
    sigmas: float
    used: bool


@dataclass(frozen=True, slots=True)
class Minimum:
    """The best size of a budget. `edge`: it lies outside the sizes that were run; `fitted`: log loss = c2 x^2 + c1 x +
    c0 of x = log N for `indices` of the runs."""

    flops: float
    params: float
    tokens: float
    loss: float
    edge: bool
    fitted: tuple[float, float, float]
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A law's parameters: `values` by `names`, and one row of `draws` per bootstrap sample.

    `predict` gives the loss from parameters, tokens and unique tokens, for many parameter rows at once: (rows, runs);
    None for a law that says only what the optimum is. `theta`, `model` and `at` are the parametric laws' own variables.
    """

    law: str
    method: str
    names: tuple[str, ...]
    values: Array
    draws: Array
    objective: float | None
    converged: bool
    predict: Callable[[Array, Array, Array, Array], Array]
    minima: tuple[Minimum, ...] = ()
    model: Law | None = None
    theta: Array | None = None
    at: Inputs | None = None
    separate: tuple[Estimate, ...] = ()


@dataclass(frozen=True, slots=True)
class Optimum:
    """N_opt = k_n C^a, D_opt = k_d C^b."""

    a: Interval
    b: Interval
    k_n: float
    k_d: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Fitted to budgets up to `up_to_flops`, asked for the loss of the runs beyond. Errors of log loss are about
    relative errors; `best` are those of the lowest loss of each budget alone. None where the law can't say."""

    runs: int
    fitted_runs: int
    up_to_flops: float
    rmse_log: float | None
    mean_abs: float | None
    worst_abs: float | None
    bias: float | None
    best_rmse_log: float | None
    best_runs: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """Everything that `runner fit` says. `residuals` are log measured less log predicted loss, of all `points`."""

    estimate: Estimate
    points: Points
    used: Array
    intervals: dict[str, Interval]
    residuals: Array
    outliers: tuple[Outlier, ...]
    optimum: Optimum | None
    heldout: HeldOut | None
    warnings: tuple[Warn, ...]
    seconds: float
    level: float = LEVEL
    sources: tuple[str, ...] = field(default=())
