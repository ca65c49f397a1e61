"""Ranked lists of passages -> one, by their scores or by their ranks.

`scores`: each list's scores are brought to 0 (its last candidate) to 1 (its first), weighted and added, a convex
combination (Bruch, Gai and Ingber 2023, doi 10.1145/3596512): by how far the first is ahead a list says how sure it is.
`rrf`: reciprocal rank fusion (Cormack, Clarke and Buettcher 2009), which reads ranks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Ranked = Sequence[tuple[str, float]]
FUSIONS = ("scores", "rrf")


@dataclass(slots=True)
class Found:
    """One passage on its way through the stages."""

    id: str
    score: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


def fuse(
    lists: Sequence[tuple[str, Ranked]], weights: Mapping[str, float], fusion: str, fusion_k: float
) -> list[Found]:
    """Each list, best first, under the name of its stage; several of one name where several questions were asked: a
    passage keeps the best rank and score that a stage gave it. Of one list alone the order stays as it is."""
    found: dict[str, Found] = {}
    for name, ranked in lists:
        weight = weights.get(name, 1.0)
        shares = _ranks(ranked, fusion_k) if fusion == "rrf" else _scores(ranked)
        for rank, ((passage, score), share) in enumerate(zip(ranked, shares, strict=True), 1):
            each = found.setdefault(passage, Found(passage))
            each.score += weight * share
            if rank < each.ranks.get(name, rank + 1):
                each.ranks[name], each.scores[name] = rank, score
    if len(lists) == 1:
        name = lists[0][0]
        for each in found.values():
            each.score = each.scores[name]
        return list(found.values())
    # the sort is stable: of equal scores the first list's order holds
    fused = sorted(found.values(), key=lambda each: -each.score)
    for rank, each in enumerate(fused, 1):
        each.scores["hybrid"], each.ranks["hybrid"] = each.score, rank
    return fused


def _ranks(ranked: Ranked, fusion_k: float) -> list[float]:
    return [1 / (fusion_k + rank) for rank in range(1, len(ranked) + 1)]


def _scores(ranked: Ranked) -> list[float]:
    """All are 1 where nothing tells them apart."""
    if not ranked:
        return []
    high, low = ranked[0][1], ranked[-1][1]
    return [(score - low) / (high - low) if high > low else 1.0 for _, score in ranked]
