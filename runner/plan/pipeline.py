"""A pipeline's stages: which layers each holds, and each as a workload of its own for the formulas of the plan.

The schedule is DeepSpeed's, one forward and one backward in turn (1F1B; Narayanan et al. 2021, arXiv:2104.04473,
section 2.2): of p stages, stage k (from 0) holds the activations of up to p - k micro batches. Over the time of m micro
batches a stage waits for that of p - 1 more: the bubble, (p-1)/(m+p-1) of a step (Huang et al. 2019, arXiv:1811.06965,
section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runner.facts.architecture import Weight
from runner.facts.partition import bounds
from runner.plan.workload import Workload

_ENDS = ("head", "norm")


@dataclass(frozen=True, slots=True)
class Stage:
    """`number` from 0; decoder layers from `first` up to but not `last`; what one GPU of it does."""

    number: int
    of: int
    first: int
    last: int
    embeds: bool
    heads: bool
    workload: Workload

    @property
    def words(self) -> str:
        parts = ["the embedding"] if self.embeds else []
        count = self.last - self.first
        parts += [f"{count} layer{'' if count == 1 else 's'}"] if count else []
        parts += ["the head"] if self.heads else []
        return f"stage {self.number + 1} of {self.of}, with {' and '.join(parts) or 'the final norm'}"


def in_flight(w: Workload, number: int) -> int:
    """Micro batches whose activations stage `number` holds at most."""
    return max(1, min(w.stages - number, w.accumulation))


def bubble(w: Workload) -> float:
    """Share of a step in which a stage waits."""
    return (w.stages - 1) / (w.accumulation + w.stages - 1)


def stages_of(w: Workload) -> list[Stage]:
    at = bounds(w.architecture, w.stages, w.partition)
    return [_stage(w, number, at[number], at[number + 1]) for number in range(w.stages)]


def _stage(w: Workload, number: int, start: int, stop: int) -> Stage:
    """Item 0 is the embedding, items 1 to n the layers, n + 1 the norm, n + 2 the head."""
    whole, layers = w.architecture, w.architecture.decoder.layers
    first, last = max(0, start - 1), max(0, min(stop - 1, layers))
    last = max(first, last)
    embeds, heads = start == 0 and stop > 0, start <= layers + 2 < stop
    outer = [x for x in whole.outer if (embeds and x.part not in _ENDS) or (heads and x.part in _ENDS)]
    if heads and whole.tied and not embeds:
        # a tied head is a copy of the embedding there, kept equal by adding up gradients
        table = next(x for x in whole.outer if x.part == "embedding")
        outer = [x for x in outer if x.part != "head"] + [Weight("lm_head", "head", table.rows, table.cols)]
    part = replace(
        whole,
        stacks=(replace(whole.decoder, layers=last - first),),
        outer=tuple(outer),
        vocab=whole.vocab if heads else 0,
    )
    mine = replace(w, architecture=part, head_outputs=w.head_outputs if heads else 0, in_flight=in_flight(w, number))
    return Stage(number, w.stages, first, last, embeds, heads, mine)


def fullest(w: Workload) -> Workload:
    """What the GPU that needs most memory does: `w` itself where there is no pipeline."""
    return w if w.stages == 1 else fullest_stage(w).workload


def fullest_stage(w: Workload) -> Stage:
    from runner.plan.memory.peak import peak

    return max(stages_of(w), key=lambda stage: peak(stage.workload).bytes)


def notes(w: Workload) -> tuple[str, ...]:
    """Which stage the figures of memory are of, and what the bubble costs."""
    if w.stages == 1:
        return ()
    from runner.plan.memory.peak import peak

    found, worst = stages_of(w), fullest_stage(w)
    sizes = ", ".join(f"{stage.number + 1}: {peak(stage.workload).bytes / 2**30:.1f}" for stage in found)
    return (
        f"memory is that of {worst.words}, the fullest; GiB at peak by stage: {sizes}",
        f"the bubble, in which a stage waits for the others, is {bubble(w):.1%} of a step: "
        f"(p-1)/(m+p-1) of {w.stages} stages and {w.accumulation} micro batches",
    )


def translated(values: dict[str, Any]) -> dict[str, Any]:
    """The keys of kind `pipeline` as Axolotl would say them, which the plan reads."""
    return {
        **{key: value for key, value in values.items() if key != "pipeline_parallel_size"},
        "gradient_checkpointing": bool(values["activation_checkpoint_interval"]),
        "pad_to_sequence_len": True,
    }
