"""A run's metrics -> whether its loss went wrong, where, and what it was before: the first thing to know of a NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

# A jump is a loss above this many times the median of the reports before it. Losses of language models lie between 1
# and 12 nats and fall slowly; one that doubles within a few steps has left the region it was in.
JUMP = 2.0
# reports that make a median worth comparing with
BEFORE = 5
WINDOW = 50


@dataclass(frozen=True, slots=True)
class WentWrong:
    """`how` is `not_finite` or `loss_spike`. `step` is the first report of it, in optimizer steps; `loss` and
    `grad_norm` of that report, as far as it has them; `good_step` and `good_loss` of the last one before; the learning
    rate of the report, or else of the last one that told it."""

    how: str
    step: int
    loss: float | None
    grad_norm: float | None
    learning_rate: float | None
    good_step: int | None
    good_loss: float | None


def went_wrong(rows: Iterable[dict[str, Any]]) -> WentWrong | None:
    """The report from which on numbers are none, else the jump from which the loss did not come back; None where it is
    neither. `rows` are those of metrics.jsonl in order; a run that went on from a checkpoint reports a
    step again, and the later report counts."""
    steps: dict[int, dict[str, Any]] = {}
    for row in rows:
        if isinstance(row.get("step"), int) and ("loss" in row or "grad_norm" in row):
            steps[row["step"]] = row
    told = [steps[step] for step in sorted(steps)]
    return _not_finite(told) or _spike(told)


def _not_finite(told: list[dict[str, Any]]) -> WentWrong | None:
    """A single overflow is no more than a step that fp16's loss scale skips: it counts from where none is better."""
    first = len(told)
    while first and not all(math.isfinite(_number(told[first - 1], key) or 0.0) for key in ("loss", "grad_norm")):
        first -= 1
    return _story("not_finite", told, first) if first < len(told) else None


def _spike(told: list[dict[str, Any]]) -> WentWrong | None:
    seen = [(i, loss) for i, row in enumerate(told) if (loss := _number(row, "loss")) is not None]
    first, usual = None, 0.0
    for n in range(BEFORE, len(seen)):
        if first is None:  # what a jump is held against stays what was usual before it
            usual = median(loss for _, loss in seen[max(0, n - WINDOW) : n])
        jumped = seen[n][1] > JUMP * usual > 0
        first = (first if first is not None else seen[n][0]) if jumped else None
    return _story("loss_spike", told, first) if first is not None else None


def _story(how: str, told: list[dict[str, Any]], at: int) -> WentWrong:
    good = next((row for row in reversed(told[:at]) if _number(row, "loss") is not None), None)
    rates = [rate for row in told[: at + 1] if (rate := _number(row, "learning_rate")) is not None]
    return WentWrong(
        how=how,
        step=told[at]["step"],
        loss=_number(told[at], "loss"),
        grad_norm=_number(told[at], "grad_norm"),
        learning_rate=rates[-1] if rates else None,
        good_step=good["step"] if good is not None else None,
        good_loss=_number(good, "loss") if good is not None else None,
    )


def _number(row: dict[str, Any], key: str) -> float | None:
    """Records write numbers that are none as text, `"nan"`."""
    try:
        return float(row[key])
    except (KeyError, TypeError, ValueError):
        return None
