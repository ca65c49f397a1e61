"""Ranked lists of passages -> one, by their scores or by their ranks.

`scores`: both lists' scores, weighted and added, a convex combination (Bruch, Gai and Ingber 2023, doi
10.1145/3596512), each in a measure that is the same for all questions: a similarity as it is, BM25, which is a sum over
the question's words, as a share of FULL. By ranks, or by shares of each list's best, a list of poor matches counts as
much as one of good ones. `rrf`: reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), which reads ranks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FUSIONS = ("scores", "rrf")
# what counts for 1; a list with a higher score (of inner products, of very long questions) goes by its best. Of BM25:
# over seven sets of questions of different kinds 30 is at most 0.011 of nDCG@10 behind the better list alone, which is
# within its interval; 20 and 40 are 0.02 behind
FULL = {"dense": 1.0, "bm25": 30.0}


@dataclass(frozen=True, slots=True)
class Listed:
    """What one stage found, best first. `further` are its scores of passages that only another stage found, where they
    are known; by rank they count for nothing."""

    stage: str
    ranked: Sequence[tuple[str, float]]
    further: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """One passage on its way through the stages."""

    id: str
    score: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


def fuse(lists: Sequence[Listed], weights: Mapping[str, float], fusion: str, fusion_k: float) -> list[Found]:
    """Several lists are of one stage where several questions were asked: a passage keeps the best rank and score that
    a stage gave it. Of one list alone the order stays as it is."""
    found: dict[str, Found] = {}
    for each_list in lists:
        name, weight = each_list.stage, weights.get(each_list.stage, 1.0)
        full = max([FULL.get(name, 1.0), *(score for _, score in each_list.ranked)])
        for rank, (passage, score) in enumerate(each_list.ranked, 1):
            each = found.setdefault(passage, Found(passage))
            each.score += weight * (1 / (fusion_k + rank) if fusion == "rrf" else max(0.0, score / full))
            if rank < each.ranks.get(name, rank + 1):
                each.ranks[name], each.scores[name] = rank, score
        for passage, score in each_list.further.items() if fusion == "scores" else ():
            each = found.setdefault(passage, Found(passage))
            each.score += weight * max(0.0, score / full)
            each.scores.setdefault(name, score)
    if len(lists) == 1:
        name = lists[0].stage
        for each in found.values():
            each.score = each.scores[name]
        return list(found.values())
    # the sort is stable: of equal scores the first list's order holds
    fused = sorted(found.values(), key=lambda each: -each.score)
    for rank, each in enumerate(fused, 1):
        each.scores["hybrid"], each.ranks["hybrid"] = each.score, rank
    return fused
