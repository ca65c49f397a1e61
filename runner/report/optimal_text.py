"""Advice -> the page a person reads, with the block to paste into a recipe."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import Any

from runner.report.ink import Ink, count, duration, percent
from runner.scaling.advice import Advice
from runner.scaling.types import Interval

_NAME = 24


def page(advice: Advice, law: str, source: str, ink: Ink) -> list[str]:
    """Lines, without line ends."""
    lines = [f"{ink.paint('budget', 'bold')}{'':{_NAME - 6}}{advice.flops:.3g} FLOPs, by the {law} law of {source}"]
    for name, one in (("parameters", advice.params), ("tokens", advice.tokens)):
        lines.append(f"{ink.paint(name, 'bold')}{'':{_NAME - len(name)}}{_between(one)}")
    lines.append(f"{'':{_NAME}}{advice.tokens.value / advice.params.value:.3g} tokens per parameter")
    loss = advice.loss
    lines.append(f"{ink.paint('loss', 'bold')}{'':{_NAME - 4}}{loss.value:.3f} ({loss.low:.3f} to {loss.high:.3f})")
    return [*lines, "", *_model(advice, ink), *_box(advice, ink), "", *block(advice), *_warnings(advice, ink)]


def _between(one: Interval) -> str:
    if not math.isfinite(one.low):
        return _words(one.value)
    return f"{_words(one.value)} ({_words(one.low)} to {_words(one.high)})"


def _words(value: float) -> str:
    return count(round(value)) if value < 1e16 else f"{value:.1e}"


def _model(advice: Advice, ink: Ink) -> Iterator[str]:
    c = advice.shape.config
    size = f"{advice.shape.parameters:,} parameters, {c['num_hidden_layers']} layers of {c['hidden_size']}"
    head = c["hidden_size"] // c["num_attention_heads"]
    yield f"{ink.paint('model', 'bold')}{'':{_NAME - 5}}{size}, {c['num_attention_heads']} heads of {head}"
    tokens = f"{count(advice.train_tokens)} tokens, {advice.steps:,} steps of {advice.step_tokens:,}"
    yield f"{ink.paint('training', 'bold')}{'':{_NAME - 8}}{tokens}"


def _box(advice: Advice, ink: Ink) -> Iterator[str]:
    plan = advice.plan
    if plan is None or plan.speed is None or advice.hours is None:
        return
    rate = plan.speed.tokens_per_s_per_gpu
    yield (
        f"{ink.paint('on ' + plan.box, 'bold')}{'':{max(1, _NAME - 3 - len(plan.box))}}{duration(advice.hours)}, "
        f"{rate.value:,.0f} tokens/s per GPU ({rate.low:,.0f} to {rate.high:,.0f}), MFU {percent(plan.speed.mfu)}, "
        f"fits: {ink.paint(plan.fits, plan.fits)}"
    )


def block(advice: Advice) -> list[str]:
    """YAML for a recipe of kind `pretrain`."""
    lines = ["architecture:"]
    lines += [f"  {key}: {_yaml(value)}" for key, value in advice.shape.config.items()]
    return [*lines, f"max_steps: {advice.steps}"]


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value < 1e-3:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa)}e{int(exponent):03d}"
    return "null" if value is None else str(value)


def _warnings(advice: Advice, ink: Ink) -> Iterator[str]:
    if advice.warnings:
        yield ""
        yield ink.paint("doubts", "bold")
    for one in advice.warnings:
        text = f"{one.kind}: {one.message}"
        yield from textwrap.wrap(
            text, ink.width, initial_indent="  - ", subsequent_indent="    ", break_long_words=False
        )
