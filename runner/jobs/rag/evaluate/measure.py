"""Ranked documents and the relevant ones -> hit rate, MRR, nDCG and recall of each question, by pytrec_eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytrec_eval
from scipy.stats import bootstrap

from ..types import Problem

# ours -> trec_eval's
NAMES = {"hit": "success", "recall": "recall", "ndcg": "ndcg_cut"}
HEADLINE = "ndcg@10"
RESAMPLES = 10_000

Scores = dict[str, dict[str, float]]  # metric -> question -> value


def metric_names(cuts: Sequence[int]) -> list[str]:
    return [f"mrr@{max(cuts)}", *(f"{name}@{cut}" for name in NAMES for cut in cuts)]


def scores(
    ranked: Mapping[str, Sequence[str]], relevant: Mapping[str, Mapping[str, int]], cuts: Sequence[int]
) -> Scores:
    """Documents of each question, best first and each once. A question without any counts as nothing found."""
    deepest = max(cuts)
    if any(len(set(documents)) != len(documents) for documents in ranked.values()):
        raise Problem("a document is ranked twice for one question")
    joined = ",".join(map(str, cuts))
    evaluator = pytrec_eval.RelevanceEvaluator(
        {question: dict(answers) for question, answers in relevant.items()},
        {"recip_rank", *(f"{theirs}.{joined}" for theirs in NAMES.values())},
    )
    # trec_eval sorts by score, and equal scores by name: each rank has a score of its own
    run = {q: {d: float(deepest - n) for n, d in enumerate(ranked.get(q, ())[:deepest])} for q in relevant}
    found = evaluator.evaluate(run)
    values: Scores = {f"mrr@{deepest}": {q: found.get(q, {}).get("recip_rank", 0.0) for q in relevant}}
    for ours, theirs in NAMES.items():
        for cut in cuts:
            values[f"{ours}@{cut}"] = {q: found.get(q, {}).get(f"{theirs}_{cut}", 0.0) for q in relevant}
    return values


def mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))


def paired(first: Mapping[str, float], second: Mapping[str, float], seed: int) -> dict[str, Any]:
    """`second` less `first` over the same questions, with 95% of its bootstrap over questions."""
    gap = np.array([second[question] - first[question] for question in first])
    wins, losses = int((gap > 0).sum()), int((gap < 0).sum())
    low = high = float(gap.mean())
    if gap.size > 1 and np.ptp(gap) > 0:
        drawn = bootstrap((gap,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(seed))
        low, high = map(float, drawn.confidence_interval)
    return {"difference": float(gap.mean()), "low": low, "high": high, "wins": wins, "losses": losses}


def percentiles(times: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}
