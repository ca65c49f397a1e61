"""The laws: loss as a function of parameters N and tokens D, in the variables they are fitted in, with their slopes.

Every law predicts the logarithm of the loss from `theta`, whose variables are well scaled: logarithms of the
coefficients, taken where N and D are at their geometric means, and the exponents as they are. Many thetas go through
at once: `theta` is (batch, variables), predictions are (batch, runs), slopes (batch, runs, variables).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
EPSILON = 1e-6  # step of a slope taken by differences; variables are of order one
MOST = 690.0  # exp of more overflows


@dataclass(frozen=True, slots=True)
class Inputs:
    """Logarithms of runs' parameters, tokens and unique tokens, less `log_n0` and `log_d0`, and of their losses."""

    n: Array
    d: Array
    unique: Array
    log_loss: Array
    log_n0: float
    log_d0: float

    def take(self, chosen: Array) -> Inputs:
        """Some of the runs, at the same centre."""
        n, d, unique, loss = (part[chosen] for part in (self.n, self.d, self.unique, self.log_loss))
        return Inputs(n, d, unique, loss, self.log_n0, self.log_d0)


class Law(Protocol):
    """`names` are those of the natural parameters, in the order that `natural` gives them."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def predict(self, theta: Array, at: Inputs) -> Array:
        """log loss, (batch, runs)."""

    def slopes(self, theta: Array, at: Inputs) -> tuple[Array, Array]:
        """log loss, and what it changes by with each variable: (batch, runs) and (batch, runs, variables)."""

    def natural(self, theta: Array, at: Inputs) -> Array:
        """theta -> the parameters as papers give them, (batch, parameters)."""

    def theta(self, natural: Array, at: Inputs) -> Array:
        """The way back."""


@dataclass(frozen=True, slots=True)
class Chinchilla:
    """L(N, D) = E + A / N^alpha + B / D^beta: Hoffmann et al. 2022, arXiv 2203.15556, equation 2; fitted in its
    log-sum-exp form (their equation 3). theta: log A and log B at the centre, log E, alpha, beta."""

    names: tuple[str, ...] = ("E", "A", "B", "alpha", "beta")

    def predict(self, theta: Array, at: Inputs) -> Array:
        return _sum(theta, at.n, at.d)[0]

    def slopes(self, theta: Array, at: Inputs) -> tuple[Array, Array]:
        found, of_n, of_d, of_e = _sum(theta, at.n, at.d)
        return found, np.stack([of_n, of_d, of_e, -at.n * of_n, -at.d * of_d], axis=-1)

    def natural(self, theta: Array, at: Inputs) -> Array:
        a, b, e, alpha, beta = theta.T
        with np.errstate(over="ignore"):
            big_a, big_b = np.exp(a + alpha * at.log_n0), np.exp(b + beta * at.log_d0)
        return np.stack([np.exp(e), big_a, big_b, alpha, beta], axis=-1)

    def theta(self, natural: Array, at: Inputs) -> Array:
        big_e, big_a, big_b, alpha, beta = natural.T
        logs = np.log(np.maximum(np.stack([big_a, big_b, big_e]), 1e-300))
        return np.stack([logs[0] - alpha * at.log_n0, logs[1] - beta * at.log_d0, logs[2], alpha, beta], axis=-1)


def _sum(theta: Array, n: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    """log of the sum of the three terms, and each one's share of it."""
    a, b, e, alpha, beta = (column[:, None] for column in theta.T)
    # relative to E, so that no term overflows before it is the whole loss
    first, second = a - alpha * n, b - beta * d
    top = np.maximum(np.maximum(first, second), e)
    first, second, third = np.exp(first - top), np.exp(second - top), np.exp(e - top)
    whole = first + second + third
    return top + np.log(whole), first / whole, second / whole, third / whole


@dataclass(frozen=True, slots=True)
class Kaplan:
    """L(N, D) = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D: Kaplan et al. 2020, arXiv 2001.08361, equation 1.5.

    theta: the logs of the two terms to the power alpha_D at the centre, and log alpha_N, log alpha_D.
    """

    names: tuple[str, ...] = ("N_c", "D_c", "alpha_N", "alpha_D")

    def predict(self, theta: Array, at: Inputs) -> Array:
        return self.slopes(theta, at)[0]

    def slopes(self, theta: Array, at: Inputs) -> tuple[Array, Array]:
        p, q, log_n, log_d = (column[:, None] for column in theta.T)
        alpha_n, alpha_d = np.exp(log_n), np.exp(log_d)
        first, second = (p - alpha_n * at.n) / alpha_d, q / alpha_d - at.d
        top = np.maximum(first, second)
        one, two = np.exp(first - top), np.exp(second - top)
        whole = one + two
        inner = top + np.log(whole)
        of_n, of_d = one / whole, two / whole
        by_alpha_n = -at.n * of_n * alpha_n
        by_alpha_d = alpha_d * (inner - of_n * first - of_d * (q / alpha_d))
        return alpha_d * inner, np.stack([of_n, of_d, by_alpha_n, by_alpha_d], axis=-1)

    def natural(self, theta: Array, at: Inputs) -> Array:
        p, q, log_n, log_d = theta.T
        alpha_n, alpha_d = np.exp(log_n), np.exp(log_d)
        sizes = (p / alpha_n + at.log_n0, q / alpha_d + at.log_d0)
        n_c, d_c = (np.exp(np.clip(size, -MOST, MOST)) for size in sizes)
        return np.stack([n_c, d_c, alpha_n, alpha_d], axis=-1)

    def theta(self, natural: Array, at: Inputs) -> Array:
        n_c, d_c, alpha_n, alpha_d = natural.T
        p, q = alpha_n * (np.log(n_c) - at.log_n0), alpha_d * (np.log(d_c) - at.log_d0)
        return np.stack([p, q, np.log(alpha_n), np.log(alpha_d)], axis=-1)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """L(X) = (X_c / X)^alpha, with all else in plenty: Kaplan et al. 2020, equations 1.1 (N) and 1.2 (D)."""

    of: str

    @property
    def names(self) -> tuple[str, ...]:
        return (f"{self.of}_c", f"alpha_{self.of}")

    def predict(self, theta: Array, at: Inputs) -> Array:
        found: Array = theta[:, :1] - theta[:, 1:] * (at.n if self.of == "N" else at.d)
        return found

    def slopes(self, theta: Array, at: Inputs) -> tuple[Array, Array]:
        x = at.n if self.of == "N" else at.d
        found = self.predict(theta, at)
        one = np.stack([np.ones_like(x), -x], axis=-1)
        return found, np.broadcast_to(one, (len(theta), *one.shape))

    def natural(self, theta: Array, at: Inputs) -> Array:
        centre = at.log_n0 if self.of == "N" else at.log_d0
        alpha = theta[:, 1]
        safe = np.where(np.abs(alpha) < 1e-12, 1e-12, alpha)
        return np.stack([np.exp(np.clip(theta[:, 0] / safe + centre, -MOST, MOST)), alpha], axis=-1)

    def theta(self, natural: Array, at: Inputs) -> Array:
        centre = at.log_n0 if self.of == "N" else at.log_d0
        return np.stack([natural[:, 1] * (np.log(natural[:, 0]) - centre), natural[:, 1]], axis=-1)


@dataclass(frozen=True, slots=True)
class DataConstrained:
    """Chinchilla's law with repeated tokens and excess parameters worth less: Muennighoff et al. 2023,
    arXiv 2305.16264, equations 5 and 6: D' = U_D + U_D R_D* (1 - exp(-R_D / R_D*)), where U_D are unique tokens and
    R_D = D / U_D - 1 repetitions, and N' likewise of U_N, the compute-optimal parameters for U_D (their appendix A).

    theta: Chinchilla's, then log R_D* and log R_N*.
    """

    names: tuple[str, ...] = ("E", "A", "B", "alpha", "beta", "R_D", "R_N")

    def predict(self, theta: Array, at: Inputs) -> Array:
        n, d = self.effective(theta, at)
        return _sum(theta[:, :5], n, d)[0]

    def effective(self, theta: Array, at: Inputs) -> tuple[Array, Array]:
        """Logs of effective parameters and tokens, from the centre."""
        a, b, _, alpha, beta, r_d, r_n = (column[:, None] for column in theta.T)
        # D_opt = U_D gives (C/6) and by it U_N; with slopes equal at the optimum: alpha A / N^alpha = beta B / D^beta
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            best = (np.log(alpha / beta) + a - b + beta * at.unique) / alpha
            best = np.where(np.isfinite(best), best, at.n)
        base = np.minimum(best, at.n)
        return _decayed(base, at.n, r_n), _decayed(np.broadcast_to(at.unique, base.shape), at.d, r_d)

    def slopes(self, theta: Array, at: Inputs) -> tuple[Array, Array]:
        columns = []
        for i in range(theta.shape[1]):
            step = np.zeros(theta.shape[1])
            step[i] = EPSILON
            columns.append((self.predict(theta + step, at) - self.predict(theta - step, at)) / (2 * EPSILON))
        return self.predict(theta, at), np.stack(columns, axis=-1)

    def natural(self, theta: Array, at: Inputs) -> Array:
        return np.concatenate([Chinchilla().natural(theta[:, :5], at), np.exp(theta[:, 5:])], axis=-1)

    def theta(self, natural: Array, at: Inputs) -> Array:
        return np.concatenate([Chinchilla().theta(natural[:, :5], at), np.log(natural[:, 5:])], axis=-1)


def _decayed(base: Array, whole: Array, log_star: Array) -> Array:
    """log of base + base R* (1 - exp(-R / R*)), R = whole / base - 1."""
    star = np.exp(np.clip(log_star, -50, 50))
    repeats = np.expm1(np.clip(whole - base, 0, 50))
    found: Array = base + np.log1p(star * -np.expm1(-repeats / star))
    return found
