"""Runs that a law with known constants would have had, with noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.diagnostics import Span
from runner.scaling.laws import Inputs
from runner.scaling.parametric import law_of
from runner.scaling.points import Points

Array = npt.NDArray[Any]
# Besiroglu et al. 2024, arXiv 2404.10102, table 1; Kaplan et al. 2020, arXiv 2001.08361, table 2 (L(N, D));
# Muennighoff et al. 2023, arXiv 2305.16264, appendix A
CONSTANTS = {
    "chinchilla": (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    "kaplan": (6.4e13, 1.8e13, 0.076, 0.103),
    "data-constrained": (1.87, 521.0, 1488.0, 0.353, 0.353, 15.39, 5.31),
}


def design(budgets: int = 9, sizes: int = 7, low: float = 5e18, high: float = 3e21) -> tuple[Array, Array]:
    """Parameters and tokens of an isoFLOP grid around 20 tokens per parameter."""
    flops = np.repeat(np.geomspace(low, high, budgets), sizes)
    away = np.tile(np.exp(np.linspace(-1.4, 1.4, sizes)), budgets)
    params = np.sqrt(flops / 120) * away
    return params, flops / (6 * params)


def losses(law: str, params: Array, tokens: Array, unique: Array | None = None, constants: Any = None) -> Array:
    """Without noise."""
    n, d = np.log(params), np.log(tokens)
    seen = d if unique is None else np.log(unique)
    where = Inputs(n - n.mean(), d - d.mean(), seen - d.mean(), np.zeros_like(n), n.mean(), d.mean())
    natural = np.array([constants or CONSTANTS[law]])
    model = law_of(law)
    return np.exp(model.predict(model.theta(natural, where), where)[0])


def points(params: Array, tokens: Array, loss: Array, unique: Array | None = None) -> Points:
    places = tuple(Span("runs.csv", i + 2, 1) for i in range(len(loss)))
    return Points(params, tokens, 6 * params * tokens, loss, tokens if unique is None else unique, places)


def runs(law: str, seed: int, noise: float = 0.004, **grid: Any) -> Points:
    """`noise` is the standard deviation of log loss, of Student's t with 5 degrees: a little heavier than a normal."""
    params, tokens = design(**grid)
    wobble = np.random.default_rng(seed).standard_t(5, len(params)) * noise * np.sqrt(3 / 5)
    return points(params, tokens, losses(law, params, tokens) * np.exp(wobble))


def write_csv(file: Path, given: Points, header: str = "params,tokens,flops,loss") -> Path:
    rows = zip(given.params, given.tokens, given.flops, given.loss, strict=True)
    lines = [",".join(f"{float(v)!r}" for v in row) for row in rows]
    file.write_text("\n".join([header, *lines]) + "\n")
    return file
