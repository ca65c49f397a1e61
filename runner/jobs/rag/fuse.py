"""Ranked lists of passages -> one, by their scores or by their ranks.

`scores`: each list's scores are divided by the most that they could be, weighted and added, a convex combination with
theoretical bounds (Bruch, Gai and Ingber 2023, doi 10.1145/3596512). A similarity is 1 at most; BM25 what a passage of
nothing but the question's words would have. So a list of poor matches counts for little as a whole: where the words of
the question are not in the documents, its meaning decides. `rrf`: reciprocal rank fusion (Cormack, Clarke and Buettcher
2009), which reads ranks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FUSIONS = ("scores", "rrf")


@dataclass(frozen=True, slots=True)
class Listed:
    """What one stage found, best first. `further` are its scores of passages that only another stage found, where they
    are known; by rank they count for nothing. `most` is the highest score that could be; a list with a higher one (of
    inner products, say) goes by its best."""

    stage: str
    ranked: Sequence[tuple[str, float]]
    further: Mapping[str, float] = field(default_factory=dict)
    most: float = 1.0


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
        most = max([each_list.most, *(score for _, score in each_list.ranked)])
        for rank, (passage, score) in enumerate(each_list.ranked, 1):
            each = found.setdefault(passage, Found(passage))
            each.score += weight * (1 / (fusion_k + rank) if fusion == "rrf" else _share(score, most))
            if rank < each.ranks.get(name, rank + 1):
                each.ranks[name], each.scores[name] = rank, score
        for passage, score in each_list.further.items() if fusion == "scores" else ():
            each = found.setdefault(passage, Found(passage))
            each.score += weight * _share(score, most)
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


def _share(score: float, most: float) -> float:
    """What is unlike the question counts for nothing, as does a list that can't have a score."""
    return max(0.0, score / most) if most > 0 else 0.0
