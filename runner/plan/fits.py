"""Memory of a GPU against its capacity -> estimates, and whether it fits."""

from __future__ import annotations

from collections.abc import Set

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


def verdict(memory: Memory, host: Store, stored: Store, assumed: Set[str] = frozenset()) -> Fits:
    """`no` where what must be allocated does not fit; `tight` where it does and the allocator's blocks may not: torch
    then gives cached blocks back and tries again, which is slow and may fail. What the box's file leaves out
    (`assumed`) decides nothing."""
    ram = 0.0 if "ram_gib" in assumed else host.capacity_gib
    disk = 0.0 if "disk_gib" in assumed else stored.capacity_gib
    if memory.capacity_gib and memory.peak.value + CONTEXT_GIB > memory.capacity_gib:
        return "no"
    if ram and host.gib.low > ram:
        return "no"
    if memory.capacity_gib and memory.reserved.value * SURE > memory.capacity_gib:
        return "tight"
    if ram and host.gib.high > ram:
        return "tight"
    return "tight" if disk and stored.gib.value > disk else "yes"
