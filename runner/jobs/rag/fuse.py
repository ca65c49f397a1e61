"""Ranked lists of passages -> one, by weighted reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Ranked = Sequence[tuple[str, float]]


@dataclass(slots=True)
class Found:
    """One passage on its way through the stages."""

    id: str
    score: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


def fuse(lists: Sequence[tuple[str, Ranked]], weights: Mapping[str, float], fusion_k: float) -> list[Found]:
    """Each list under the name of its stage, several of one name where several questions were asked; a passage keeps
    the best rank and score that a stage gave it. Of one list alone the order stays as it is."""
    found: dict[str, Found] = {}
    for name, ranked in lists:
        weight = weights.get(name, 1.0)
        for rank, (passage, score) in enumerate(ranked, 1):
            each = found.setdefault(passage, Found(passage))
            each.score += weight / (fusion_k + rank)
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
