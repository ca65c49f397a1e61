"""What a law says a budget should be spent on: N and D with the lowest loss at 6 N D = C."""

from __future__ import annotations

import numpy as np

from runner.scaling import bootstrap
from runner.scaling.laws import Array
from runner.scaling.points import FLOPS_PER_TOKEN
from runner.scaling.types import LEVEL, Estimate, Interval, Optimum

# Sizes that are looked at where there is no closed form
_LOG_N = np.linspace(np.log(1e4), np.log(1e15), 1500)


def allocation(law: str, values: Array, flops: Array) -> tuple[Array, Array]:
    """Parameters and tokens, (rows, budgets), for rows of the law's natural parameters."""
    c = np.log(flops)[None, :]
    if law in ("isoflop", "envelope"):
        a, k_n = values[:, :1], values[:, 2:3]
        log_n = np.log(k_n) + a * c
    elif law == "kaplan":
        log_n = _kaplan(values, c)
    else:
        log_n = _chinchilla(values, c)
    return np.exp(log_n), np.exp(c - np.log(FLOPS_PER_TOKEN) - log_n)


def _chinchilla(values: Array, log_c: Array) -> Array:
    """G (C / 6)^(beta / (alpha + beta)), G = (alpha A / (beta B))^(1 / (alpha + beta)): Hoffmann et al. 2022,
    equation 4."""
    _, big_a, big_b, alpha, beta = (column[:, None] for column in values.T[:5])
    log_g = (np.log(alpha) + np.log(big_a) - np.log(beta) - np.log(big_b)) / (alpha + beta)
    found: Array = log_g + beta / (alpha + beta) * (log_c - np.log(FLOPS_PER_TOKEN))
    return found


def _kaplan(values: Array, log_c: Array) -> Array:
    """Setting the slope of (N_c/N)^p + D_c N / (C/6), p = alpha_N / alpha_D, to zero: N^(p + 1) = p N_c^p C / (6 D_c)
    (Kaplan et al. 2020, appendix B)."""
    n_c, d_c, alpha_n, alpha_d = (column[:, None] for column in values.T)
    p = alpha_n / alpha_d
    found: Array = (np.log(p) + p * np.log(n_c) + log_c - np.log(FLOPS_PER_TOKEN) - np.log(d_c)) / (p + 1)
    return found


def constrained(estimate: Estimate, values: Array, flops: float, unique: float) -> tuple[Array, Array]:
    """Parameters and tokens (rows) with `unique` different tokens, by looking at every size."""
    log_n = _LOG_N
    log_d = np.log(flops / FLOPS_PER_TOKEN) - log_n
    seen = np.full_like(log_n, unique)
    loss = estimate.predict(values, np.exp(log_n), np.exp(log_d), seen)
    best = np.argmin(loss, axis=1)
    return np.exp(log_n[best]), np.exp(log_d[best])


def exponents(estimate: Estimate, level: float = LEVEL) -> Optimum | None:
    """N_opt = k_n C^a and D_opt = k_d C^b, with intervals; None where the law has no optimum (a parameter at zero)."""
    two = np.array([1e20, 1e21])

    def of(values: Array) -> Array:
        n, d = allocation(estimate.law, values, two)
        a, b = (np.log(x[:, 1] / x[:, 0]) / np.log(10) for x in (n, d))
        return np.stack([a, b, n[:, 0] / two[0] ** a, d[:, 0] / two[0] ** b], axis=-1)

    with np.errstate(all="ignore"):
        if estimate.law in ("isoflop", "envelope"):
            here, drawn = estimate.values[None, :4], estimate.draws[:, :4]
        else:
            here, drawn = of(estimate.values[None]), of(estimate.draws)
    a, b, k_n, k_d = here[0]
    if not np.isfinite(here).all():
        return None
    return Optimum(_interval(a, drawn[:, 0], level), _interval(b, drawn[:, 1], level), float(k_n), float(k_d))


def _interval(value: float, drawn: Array, level: float) -> Interval:
    kept = drawn[np.isfinite(drawn)]
    low, high = bootstrap.alone(kept, level) if len(kept) else (float("nan"), float("nan"))
    return Interval(float(value), low, high)


def interval(value: float, drawn: Array, level: float = LEVEL) -> Interval:
    """A figure and what the bootstrap says of it."""
    return _interval(value, drawn, level)
