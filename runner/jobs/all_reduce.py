"""Times an all-reduce over all ranks and checks what comes out: `torchrun --nproc_per_node N all_reduce.py`.

Bandwidth is that of NCCL's own tests (doc/PERFORMANCE.md there): bytes / time x 2 (n - 1) / n, which can be held
against the links' speed whatever the number of ranks. On a CPU it runs the same by gloo. Rank 0 prints one line of
JSON.
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist

# a token's hidden state in a small batch, and a whole prompt's: latency counts in the first, bandwidth in the last
SIZES_MIB = (0.25, 16, 256)
CPU_SIZES_MIB = (0.25, 4)
ROUNDS = 20
TIMEOUT_S = 60


def main() -> None:
    gpu = torch.cuda.is_available()
    rank = int(os.environ["LOCAL_RANK"])
    if gpu:
        torch.cuda.set_device(rank)
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(seconds=TIMEOUT_S))
    rows = [measure(size, device) for size in (SIZES_MIB if gpu else CPU_SIZES_MIB)]
    ranks = dist.get_world_size()
    if dist.get_rank() == 0:
        peers = [[peer(a, b) for b in range(ranks)] for a in range(ranks)] if gpu else []
        found = {"ranks": ranks, "backend": dist.get_backend(), "peers": peers, "sizes": rows}
        print(json.dumps(found), flush=True)
    dist.destroy_process_group()


def measure(size_mib: float, device: torch.device) -> dict[str, float | bool]:
    """All ranks are asked whether their sum is right: writes between GPUs that go astray are not always noticed."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    count = int(size_mib * 2**20) // 4
    pattern = torch.arange(count, device=device, dtype=torch.float32) % 251
    expected = pattern * ranks + ranks * (ranks - 1) / 2
    wrong = torch.zeros(1, device=device)
    for _ in range(3):
        tensor = pattern + rank
        dist.all_reduce(tensor)
        wrong += (tensor != expected).sum()
    dist.all_reduce(wrong)
    tensor = torch.zeros(count, device=device)
    synchronize(device)
    began = time.perf_counter()
    for _ in range(ROUNDS):
        dist.all_reduce(tensor)
    synchronize(device)
    seconds = (time.perf_counter() - began) / ROUNDS
    bandwidth = 4 * count / seconds * 2 * (ranks - 1) / ranks / 1e9
    return {"mib": size_mib, "us": round(seconds * 1e6, 1), "gb_s": round(bandwidth, 3), "right": not wrong.item()}


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peer(a: int, b: int) -> bool:
    return a == b or torch.cuda.can_device_access_peer(a, b)


if __name__ == "__main__":
    main()
