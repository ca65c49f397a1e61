"""Before and after on the same samples -> how much of the quality is left, and how sure that is.

Of text it is the ratio of the likelihood per token, exp(-(mean nll after - mean nll before)), which is perplexity
before / perplexity after; of a task the ratio of the accuracies. Both resample whole pairs (a window of text, a
question), so that what makes one sample harder than another cancels out.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
# two-sided, of the interval
SURE = 0.95


@dataclass(frozen=True, slots=True)
class Recovery:
    """`low` to `high` holds the true share in `SURE` of all cases; `decided` says that `least` is not within. `value`
    is None where there was nothing to lose (no question was answered rightly before)."""

    value: float | None
    low: float | None
    high: float | None
    least: float
    samples: int
    decided: bool
    passed: bool

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        found["recovery"] = found.pop("value")
        found["interval"] = [found.pop("low"), found.pop("high")]
        return found


def of_text(before: Any, after: Any, tokens: Any, least: float, seed: int) -> Recovery:
    """`before` and `after` are summed nll of each window [windows], `tokens` how many of its tokens were predicted."""
    lost, size = np.asarray(after, float) - np.asarray(before, float), np.asarray(tokens, float)
    if not np.isfinite(lost).all():  # a ruined model says `nan` of some texts, and then says nothing of the others
        lost = np.full_like(lost, np.nan)

    def share(picked: list[Any]) -> float | None:
        [windows] = picked
        return float(np.exp(-lost[windows].sum() / size[windows].sum()))

    return _judged(share, [len(lost)], least, seed)


def of_tasks(before: Sequence[Any], after: Sequence[Any], least: float, seed: int) -> Recovery:
    """A list of scores from 0 to 1 for each task, in the same order of its questions; accuracy is the mean of the
    tasks' means, so that a long task says no more than a short one. Questions are drawn anew within their task."""
    was, now = ([np.asarray(scores, float) for scores in each] for each in (before, after))

    def share(picked: list[Any]) -> float | None:
        old, new = (np.mean([s[p].mean() for s, p in zip(each, picked, strict=True)]) for each in (was, now))
        return float(new / old) if old > 0 else None

    return _judged(share, [len(scores) for scores in was], least, seed)


def _judged(share: Callable[[list[Any]], float | None], sizes: list[int], least: float, seed: int) -> Recovery:
    """`share` of what is left when of each group of samples (`sizes`) those with the given numbers are looked at."""
    value, samples = share([np.arange(size) for size in sizes]), sum(sizes)
    if value is None:
        return Recovery(None, None, None, least, samples, decided=False, passed=True)
    if not np.isfinite(value):
        return Recovery(0.0, 0.0, 0.0, least, samples, decided=True, passed=least <= 0)
    rng = np.random.default_rng(seed)
    drawn = [share([rng.integers(size, size=size) for size in sizes]) for _ in range(RESAMPLES)]
    known = [each for each in drawn if each is not None]
    low, high = (float(q) for q in np.quantile(known, [(1 - SURE) / 2, (1 + SURE) / 2]))
    return Recovery(value, low, high, least, samples, decided=not low < least <= high, passed=value >= least)


def sentence(what: str, found: Recovery) -> str:
    """`perplexity: recovery 0.9871 (0.9812 to 0.9924), at least 0.99 wanted`."""
    if found.value is None:
        return f"{what}: nothing was right before, so there was nothing to lose"
    text = f"{what}: recovery {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), at least {found.least:g} wanted"
    return text if found.decided else f"{text}; {found.samples:,} samples are too few to decide that"
