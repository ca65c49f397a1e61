"""Fits the efficiencies of serving to published measurements, and says how wrong they are on sources left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

from runner.plan.serving.constants import FITTED, Constants
from runner.plan.serving.load import steady
from runner.plan.serving.measured import Row
from runner.plan.serving.speed import Batch, Engine, prompt_seconds, step

# Where a constant would lie if nothing were measured, and how far from there (as a natural logarithm) it may well be.
# They keep those that few rows tell about within reason.
PRIOR = {
    "bandwidth_share": 0.8, "cache_share": 0.7, "compute16_share": 0.65, "compute8_share": 0.5, "link_share": 0.5,
    "all_reduce_us": 15.0, "layer_us": 10.0, "prompt_layer_us": 60.0, "step_us": 500.0, "sequence_us": 10.0,
}  # fmt: skip
PRIOR_WIDTH = 0.5
PRIOR_WEIGHT = 0.01  # of a row that is the only one of its source
ROUNDS = 12
SLOPE = 1e-4
LONGEST_STEP = 0.5
HUBER = 0.35  # residuals beyond it count only in proportion: an odd row shall not bend the rest
NINE_IN_TEN = 0.9
FIRST = "first_token"


@dataclass(frozen=True, slots=True)
class Off:
    """How far a prediction is from a row: the logarithm of their ratio, positive where we are too optimistic (too many
    tokens, too few seconds)."""

    row: Row
    log: float

    @property
    def share(self) -> float:
        return math.expm1(abs(self.log))


@dataclass(frozen=True, slots=True)
class Refit:
    """`constants` fitted to all rows. `left_out` holds each row by constants that were fitted without its source,
    `before` by those one started from."""

    constants: Constants
    left_out: tuple[Off, ...]
    before: tuple[Off, ...]


def predicted(row: Row, c: Constants) -> float:
    """The figure that the row gives, by our formulas; prompts that arrive together are read first, then all decode."""
    e, r = Engine(row.architecture, row.gpu, row.settings, c), row.settings
    if row.kind == FIRST:
        return prompt_seconds(e, r.input_len) if row.concurrency == 1 else steady(e, row.concurrency).first_token
    if row.kind == "per_token":
        return steady(e, row.concurrency).per_token
    if not row.together:
        return steady(e, row.concurrency).tokens_per_s
    reading = prompt_seconds(e, r.input_len, count=row.concurrency)
    each = step(e, Batch(row.concurrency, r.input_len + r.output_len / 2)).total
    return row.concurrency * r.output_len / (reading + (r.output_len - 1) * each)


def off(row: Row, c: Constants) -> Off:
    ratio = math.log(predicted(row, c) / row.value)
    return Off(row, ratio if row.kind == "tokens_per_s" else -ratio)


def refit(rows: list[Row], start: Constants) -> Refit:
    """Leaves one source out at a time for the intervals. Raises ValueError with fewer than two sources."""
    sources = sorted({row.source for row in rows})
    if len(sources) < 2:
        raise ValueError("measurements of two sources at least are needed")
    left_out: list[Off] = []
    for source in sources:
        others = _fit([row for row in rows if row.source != source], start)
        left_out += [off(row, others) for row in rows if row.source == source]
    interval = {
        **start.interval,
        "speed": interval_of([x for x in left_out if x.row.kind != FIRST]),
        FIRST: interval_of([x for x in left_out if x.row.kind == FIRST]),
    }
    fitted = replace(_fit(rows, start), interval=interval)
    return Refit(fitted, tuple(left_out), tuple(off(row, start) for row in rows))


def median(offs: list[Off]) -> float:
    """As a share."""
    return _nth(sorted((x.share, 1.0) for x in offs), 0.5)


def interval_of(offs: list[Off]) -> float:
    """Half-width, as a share, that nine of ten rows lie within whose source was not fitted: of all rows, or with
    sources counting alike, whichever is wider."""
    counts = _per_source([x.row for x in offs])
    alike = _nth(sorted((x.share, 1 / counts[x.row.source]) for x in offs), NINE_IN_TEN)
    return max(alike, _nth(sorted((x.share, 1.0) for x in offs), NINE_IN_TEN))


def as_yaml(found: Refit, today: date | None = None) -> str:
    """data/serving.yaml anew; constants of memory stay as they are."""
    c, sources = found.constants, sorted({x.row.source for x in found.left_out})
    shown = {name: _plain(getattr(c, name)) for name in (f.name for f in fields(Constants))}
    lines = [HEADER, f"fitted: {(today or date.today()).isoformat()}", f"sources: [{', '.join(sources)}]"]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in shown.items())]) + "\n"


HEADER = """\
# Efficiencies of serving. Shares of the hardware's peak and times of a step are fitted by `refit` and `as_yaml` of
# runner/plan/serving/calibrate.py to data/measured/published_serving.csv and vllm_serving.csv; `interval` is the
# half-width that nine of ten rows of a source left out lie within.
# Constants of memory are read off vLLM's logs (data/measured/vllm_memory.csv): `runtime_gib`, `parallel_gib`
# (FlashInfer's fused all-reduce from Hopper on; else the custom one's buffers) and `profile_gib` from 0.11 to 0.31;
# `logits_copies` (two 16-bit ones) from the V2 runner's sampler; `graphs_gib` and `layer_graph_mib` (per layer and
# captured graph) from 0.30 and 0.31 on A10G and A100. The interval `memory` is a share of what is set aside: by how
# much versions of vLLM differ.
# `eager_layer_us` is from one row (Qwen3-14B-AWQ). `kernels`: time beside the roofline's, 1 where measured; those of
# 4-bit weights and bitsandbytes are assumed."""


def _plain(value: float | dict[str, float]) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inner:.3g}" for key, inner in value.items()) + "}"
    return f"{value:.4g}"


def _per_source(rows: list[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.source] = counts.get(row.source, 0) + 1
    return counts


def _nth(weighted: list[tuple[float, float]], share: float) -> float:
    total, seen = sum(weight for _, weight in weighted), 0.0
    for size, weight in weighted:
        seen += weight
        if seen >= share * total:
            return size
    return weighted[-1][0] if weighted else 0.0


def _fit(rows: list[Row], start: Constants) -> Constants:
    """Gauss-Newton on the logarithms of the constants with Huber's weights; a source weighs as the root of its rows.
    Waiting among others tells more of how they arrived than of the hardware, and is only compared."""
    rows = [row for row in rows if row.kind != FIRST or row.concurrency == 1]
    origin = [math.log(PRIOR[name]) for name in FITTED]
    at, counts = list(origin), _per_source(rows)
    for _ in range(ROUNDS):
        here = [off(row, _constants(start, at)).log for row in rows]
        slopes = []
        for i in range(len(FITTED)):
            moved = _constants(start, [x + (SLOPE if i == j else 0.0) for j, x in enumerate(at)])
            slopes.append([(off(row, moved).log - x) / SLOPE for row, x in zip(rows, here, strict=True)])
        weights = [
            min(1.0, HUBER / max(1e-9, abs(x))) / math.sqrt(counts[row.source])
            for row, x in zip(rows, here, strict=True)
        ]
        change = _newton(slopes, here, weights, [x - o for x, o in zip(at, origin, strict=True)])
        at = [x - max(-LONGEST_STEP, min(LONGEST_STEP, d)) for x, d in zip(at, change, strict=True)]
        if max(map(abs, change)) < SLOPE:
            break
    return _constants(start, at)


def _constants(start: Constants, at: list[float]) -> Constants:
    values: dict[str, Any] = {name: math.exp(x) for name, x in zip(FITTED, at, strict=True)}
    return replace(start, **values)


def _newton(slopes: list[list[float]], here: list[float], weights: list[float], away: list[float]) -> list[float]:
    matrix = [[sum(w * a * b for w, a, b in zip(weights, left, right, strict=True)) for right in slopes]
              for left in slopes]  # fmt: skip
    right = [sum(w * a * x for w, a, x in zip(weights, left, here, strict=True)) for left in slopes]
    pull = PRIOR_WEIGHT / PRIOR_WIDTH**2
    for i, distance in enumerate(away):
        matrix[i][i] += pull
        right[i] += pull * distance
    return solve(matrix, right)


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss's elimination with pivoting."""
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(i + 1, n):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [x - factor * y for x, y in zip(rows[k], rows[i], strict=True)]
    found = [0.0] * n
    for i in reversed(range(n)):
        found[i] = (rows[i][n] - sum(rows[i][j] * found[j] for j in range(i + 1, n))) / rows[i][i]
    return found
