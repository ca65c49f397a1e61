"""From what tensors take to what nvidia-smi shows: the caching allocator's slack, CUDA's context, NCCL's buffers."""

from __future__ import annotations

from collections.abc import Mapping

from runner.plan.memory.peak import Peak
from runner.plan.workload import Workload

GIB = 2**30
_STATIC = ("weights", "adapter", "reference", "master", "optimizer", "buckets", "pipe")
# above the capacity that torch reports lies some memory that only the driver sees
_DRIVER = 0.3 * GIB


def reserved_bytes(w: Workload, at: Peak, slack: Mapping[str, float]) -> float:
    """Bytes of one GPU as its driver sees them, never more than it has: before that the allocator gives blocks back.

    torch's caching allocator keeps blocks in the sizes they were first asked for, so that what the step needs
    (gradients, scratch) lies only partly where activations and logits were. `slack`, fitted: `base` and `rank` GiB for
    CUDA's context and for NCCL where there are several ranks, `logits` bytes per element for the copies that a loss
    leaves behind in the cache, `overlap` the share of the smaller of the two sets that finds no place in the larger,
    `moving` and `fsdp` shares on top of activations.
    """
    static = at.at("loss", *_STATIC)
    copies = slack["logits"] * w.head_outputs * w.tokens / w.tensor_parallel if w.loss != "linear" else 0.0
    loss = at.at("loss", "activations", "logits", "gathered") + copies
    backward = max(
        at.at(moment, "activations", "boundaries", "layer", "gathered")
        for moment in ("backward-last", "backward-first")
    )
    share = slack["moving"] + (slack["fsdp"] if w.sharding.engine == "fsdp" else 0.0)
    activations = max(loss, backward) * (1 + share)
    step = at.at("step", "gradients", "scratch")
    moving = max(activations, step) + slack["overlap"] * min(activations, step)
    context = (slack["base"] + (slack["rank"] if w.ranks > 1 else 0.0)) * GIB
    capacity = w.box.gpu_memory_gib * GIB + _DRIVER
    return max(min(static + moving + context, capacity), at.bytes + slack["base"] * GIB)
