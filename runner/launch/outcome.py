"""What a run came to: finished, failed or interrupted, and why; and the sentence that sums it up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.launch.ended import last_error
from runner.launch.hang import STACKS
from runner.launch.local import Ended
from runner.provenance.outputs import describe_outputs
from runner.recipe.resolve import Recipe
from runner.record import Run


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is finished, failed, interrupted, or detached where a scheduler goes on with it; `part` the step of
    launch.sh that it came to; `failure` as run.json has it, where it is one we know."""

    run: Path
    status: str
    code: int
    part: str
    seconds: float
    outputs: list[dict[str, Any]]
    headline: str
    error: str
    measured: dict[str, Any] = field(default_factory=dict)
    comparison: str = ""
    failure: dict[str, Any] | None = None


def judge(recipe: Recipe, run: Path, ended: Ended, part: str, metrics: dict[str, Any], *, child: bool) -> Outcome:
    """A sweep's `child` whose loss diverged is a result: that is what a sweep of learning rates is to find."""
    status, error = "finished", ""
    outputs: list[dict[str, Any]] = []
    if ended.silent_s is not None:
        status, error = "failed", f"it hung: no step and no word for {ended.silent_s:.0f} s, stacks are in {STACKS}"
    elif ended.interrupted and ended.code != 0:
        status = "interrupted"
    elif ended.code != 0:
        status, error = "failed", last_error(recipe, run)
    else:
        outputs, missing = describe_outputs(recipe, run)
        if missing:
            status, error = "failed", f"it ended well but left nothing in {', '.join(missing)}"
        elif diverged(metrics) and not child:
            status, error = "failed", f"its loss is {metrics['loss']} at step {metrics.get('step', 'unknown')}"
    return Outcome(run, status, ended.code, part, ended.seconds, outputs, headline(metrics), error)


def diverged(metrics: dict[str, Any]) -> bool:
    """Whether the last loss is no number; records write that as text, `"nan"`."""
    try:
        return not math.isfinite(float(metrics["loss"]))
    except (KeyError, TypeError, ValueError):
        return False


def of_finished(run: Run) -> Outcome:
    """Of a run that somebody else has brought to its end."""
    record = run.record
    return Outcome(
        run=run.path,
        status="finished",
        code=0,
        part=str(record.get("part", "done")),
        seconds=float(record.get("seconds", 0.0)),
        outputs=list(record.get("outputs", ())),
        headline=headline(record.get("metrics", {})),
        error="",
    )


def headline(metrics: dict[str, Any]) -> str:
    """`loss 7.123 -> 0.512`, from a run's final metrics; numbers that are none may be text there."""

    def shown(key: str) -> str:
        return f"{float(metrics[key]):.3f}"

    words = []
    if "children" in metrics:
        best = f", best loss {shown('best_loss')}" if "best_loss" in metrics else ""
        words.append(f"{metrics['children']} of {metrics['max_steps']} children{best}")
    if "loss" in metrics:
        words.append(f"loss {shown('first_loss')} -> {shown('loss')}")
    if "rewards/margins" in metrics:
        words.append(f"reward margin {shown('first_rewards/margins')} -> {shown('rewards/margins')}")
    if "reward" in metrics:
        words.append(f"reward {shown('first_reward')} -> {shown('reward')}")
    if "cells" in metrics:
        worse = [f"{metrics[key]} {word}" for key, word in (("failed_cells", "failed"), ("partial_cells", "partial"))]
        worse = [words for words in worse if not words.startswith("0 ")]
        words.append(f"{metrics['cells']} cells, at most {metrics['best_tokens_per_s']:,.0f} tokens/s")
        words += [", ".join(worse)] if worse else []
    if "documents" in metrics and "tokens" in metrics:
        words.append(f"{metrics['documents']:,} documents, {metrics['tokens']:,} tokens")
        words.append(f"{metrics['tokens_per_s_per_core']:,} tokens/s per core")
    if isinstance(metrics.get("headline"), str):  # of a run that says itself what it came to
        words.append(metrics["headline"])
    return ", ".join(words) or "no metrics"
