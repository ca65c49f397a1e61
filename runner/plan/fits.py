"""Memory of a GPU against its capacity -> estimates, and whether it fits."""

from __future__ import annotations

from runner.plan.efficiency import Efficiency
from runner.plan.memory.peak import Peak
from runner.plan.memory.reserved import reserved_bytes
from runner.plan.types import Estimate, Fits, Memory, Store
from runner.plan.workload import Workload

GIB = 2**30
# Reserved memory is foreseen within this factor in nine of ten runs or better; beyond it lies a `yes` that holds.
SURE = 1.1
# what CUDA's context, kernels and libraries take before the first tensor: 0.4 to 0.8 GiB on data-centre GPUs
CONTEXT_GIB = 0.6


def memory(w: Workload, at: Peak, fitted: Efficiency) -> Memory:
    if w.box.gpus == 0:
        none = Estimate(0.0, 0.0, 0.0)
        return Memory(none, none, 0.0, "", {}, {})
    allocated, reserved = at.bytes / GIB, reserved_bytes(w, at, fitted.slack) / GIB
    near, wide = fitted.interval["peak"], fitted.interval["reserved"]
    return Memory(
        peak=Estimate(allocated, allocated * (1 - near), allocated * (1 + near)),
        reserved=Estimate(reserved, max(allocated, reserved * (1 - wide)), reserved * (1 + wide)),
        capacity_gib=w.box.gpu_memory_gib,
        phase=at.phase,
        breakdown={name: size / GIB for name, size in at.parts.items()},
        moments={name: sum(parts.values()) / GIB for name, parts in at.moments.items()},
    )


def verdict(memory: Memory, host: Store, stored: Store) -> Fits:
    """`no` where what must be allocated does not fit; `tight` where it does and the allocator's blocks may not: torch
    then gives cached blocks back and tries again, which is slow and may fail."""
    if memory.capacity_gib and memory.peak.value + CONTEXT_GIB > memory.capacity_gib:
        return "no"
    if host.capacity_gib and host.gib.low > host.capacity_gib:
        return "no"
    if memory.capacity_gib and memory.reserved.value * SURE > memory.capacity_gib:
        return "tight"
    if host.capacity_gib and host.gib.high > host.capacity_gib:
        return "tight"
    return "tight" if stored.capacity_gib and stored.gib.value > stored.capacity_gib else "yes"
