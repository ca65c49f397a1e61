"""The laws that give a loss for every size: one fit each, by the fast route or by many starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from runner.scaling import bootstrap, varpro
from runner.scaling.laws import Array, Chinchilla, DataConstrained, Inputs, Kaplan, Law, PowerLaw
from runner.scaling.points import Points
from runner.scaling.points import at as sizes_at
from runner.scaling.solve import DELTA, Solved, minimise
from runner.scaling.types import Estimate

# Starting points: exponents from hardly any fall to a faster one than any paper found, and repetitions after which
# more are worth little (Muennighoff et al. 2023 start from 0 to 20)
_EXPONENTS = np.geomspace(0.02, 1.5, 8)
_REPEATS = (1.0, 5.0, 15.0, 60.0)
_FEW_REPEATS = 1.05


def law_of(name: str) -> Law:
    laws: dict[str, Law] = {"chinchilla": Chinchilla(), "kaplan": Kaplan(), "data-constrained": DataConstrained()}
    return laws[name]


def solve(name: str, at: Inputs, method: str = "fast", delta: float = DELTA) -> Solved:
    """The global minimum, as one theta. `method`: `fast` or `many-start`, which Chinchilla's law alone has."""
    if name == "chinchilla":
        if method == "fast":
            return varpro.fit(at, delta)
        from runner.scaling import many_start  # scipy, which the fast route does without

        return many_start.fit(at, delta)
    law = law_of(name)
    starts = _kaplan_starts(at) if name == "kaplan" else _repeat_starts(at, delta)
    return _best(minimise(law, starts, at, delta=delta))


def estimate(
    name: str, points: Points, method: str = "fast", samples: int = 500, seed: int = 0, delta: float = DELTA
) -> Estimate:
    """A law fitted to all of `points`, with its bootstrap."""
    at = points.inputs()
    solved = solve(name, at, method, delta)
    found = _estimated(name, law_of(name), method, solved, at, samples, seed, delta)
    return replace(found, separate=_separate(points, samples, seed, delta)) if name == "kaplan" else found


def _estimated(
    name: str, law: Law, method: str, solved: Solved, at: Inputs, samples: int, seed: int, delta: float
) -> Estimate:
    drawn = law.natural(bootstrap.draws(law, solved.theta, at, samples, seed, delta), at) if samples else None
    return Estimate(
        law=name,
        method=method,
        names=law.names,
        values=law.natural(solved.theta, at)[0],
        draws=drawn if drawn is not None else np.empty((0, len(law.names))),
        objective=float(solved.objective[0]),
        converged=bool(solved.converged[0]),
        predict=_predictor(law, at),
        model=law,
        theta=solved.theta,
        at=at,
    )


def _predictor(law: Law, centre: Inputs) -> Callable[[Array, Array, Array, Array], Array]:
    def predict(natural: Array, params: Array, tokens: Array, unique: Array) -> Array:
        where = sizes_at(params, tokens, centre, unique)
        found: Array = np.exp(law.predict(law.theta(natural, where), where))
        return found

    return predict


def _best(solved: Solved) -> Solved:
    best = int(np.nanargmin(solved.objective))
    return Solved(solved.theta[[best]], solved.objective[[best]], solved.converged[[best]])


def _kaplan_starts(at: Inputs) -> Array:
    level = float(np.mean(at.log_loss)) - 0.2  # either term alone is a little below the whole
    first, second = (x.ravel() for x in np.meshgrid(np.log(_EXPONENTS), np.log(_EXPONENTS)))
    same = np.full_like(first, level)
    return np.stack([same, same, first, second], axis=-1)


def _repeat_starts(at: Inputs, delta: float) -> Array:
    """Chinchilla's law of the runs that hardly repeat, or of all where those are few, and a grid for the rest."""
    fresh = at.d - at.unique <= np.log(_FEW_REPEATS)
    enough = fresh.sum() >= 2 * len(Chinchilla().names)
    base = varpro.fit(at.take(fresh) if enough else at, delta).theta[0]
    return np.array([[*base, np.log(r_d), np.log(r_n)] for r_d in _REPEATS for r_n in _REPEATS])


def _separate(points: Points, samples: int, seed: int, delta: float) -> tuple[Estimate, ...]:
    """L(N) of the longest run of each size, L(D) of the largest model of each number of tokens: what is nearest to
    having the other in plenty."""
    found = []
    for of, own, other in (("N", points.params, points.tokens), ("D", points.tokens, points.params)):
        chosen = _most_of_each(own, other)
        if len(chosen) < 3:
            continue
        part = points.take(chosen)
        at, law = part.inputs(), PowerLaw(of)
        x = at.n if of == "N" else at.d
        slope = -float(np.polyfit(x, at.log_loss, 1)[0])
        solved = minimise(law, np.array([[at.log_loss.mean(), slope]]), at, delta=delta)
        found.append(_estimated(f"L({of})", law, "newton", solved, at, samples, seed, delta))
    return tuple(found)


def _most_of_each(own: Array, other: Array, within: float = 1.05) -> Array:
    """Of runs with about equal `own`, the one with most `other`."""
    order = np.argsort(own, kind="stable")
    chosen: list[int] = []
    start = -1.0
    for i in order:
        if start > 0 and own[i] <= start * within:
            chosen[-1] = int(i) if other[i] > other[chosen[-1]] else chosen[-1]
        else:
            chosen.append(int(i))
            start = own[i]
    found: Array = np.array(chosen)
    return found
