"""What GPUs send each other in one micro batch: within a node, between nodes, to the host."""

from __future__ import annotations

from runner.facts.architecture import Weight
from runner.plan.memory.states import is_quantized, trained_parameters
from runner.plan.workload import Workload


def communication(w: Workload) -> tuple[float, float, float]:
    """Bytes per micro batch: what one GPU sends within its node, what a node sends to the others, what a GPU exchanges
    with its host.

    A group of `n` ranks is a ring. Gathering what they share moves (n-1)/n of it past each rank, reducing as much
    again, all-reduce twice as much (Thakur et al. 2005, "Optimization of collective communication operations in
    MPICH").
    Ranks lie side by side: those of tensor parallelism first, then context parallel ones, then those with other data,
    then the stages of a pipeline. A ring over several nodes leaves each of them once, however many of its GPUs are in
    it, so that all ports of a node share what one GPU sends (NCCL lays a ring through each port and gives it a part:
    https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md); as many rings leave a node as there are groups
    side by side.
    """
    node = w.box.gpus or 1
    beside = w.tensor_parallel * w.context_parallel
    # bytes per GPU, ranks from the first to the last of the group, rings that leave a node
    traffic = [
        (_tensor_parallel(w), w.tensor_parallel, 1),
        (_context_parallel(w), beside, min(w.tensor_parallel, node)),
        *_of_the_data(w, beside, node),
        # each rank of a stage sends to its own of the next
        (_between_stages(w), w.ranks if w.stages > 1 else 1, min(node, max(1, w.ranks // w.stages))),
    ]
    local = sum(moved for moved, span, _ in traffic if span <= node)
    remote = sum(moved * rings for moved, span, rings in traffic if span > node)
    return local, remote, _host(w)


def _of_the_data(w: Workload, beside: int, node: int) -> list[tuple[float, int, int]]:
    """Gathering weights and reducing gradients over ranks with other data. With FSDP's `dp_shard_size` a group shards,
    and groups average what each rank of them has."""
    shard, trained = w.sharding, trained_parameters(w)
    ranks = w.data_parallel * w.context_parallel
    n = ranks if shard.engine == "ddp" else shard.ways
    grads = trained.count / w.tensor_parallel * (trained.bytes_each if shard.engine == "ddp" else w.compute_bytes)
    found = []
    if n > 1:
        found.append((_moved(w, n, grads), n * w.tensor_parallel, min(w.tensor_parallel, node)))
    groups = ranks // n if shard.engine == "fsdp" and n > 1 else 1
    if groups > 1:
        averaged = 2 * (groups - 1) / groups * grads / n
        found.append((averaged, groups * n * w.tensor_parallel, min(n * w.tensor_parallel, node)))
    return found


def _moved(w: Workload, n: int, grads: float) -> float:
    """Bytes that a rank sends of a group of `n`."""
    shard, share = w.sharding, (n - 1) / n
    base = sum(_gathered(w, x) * count for x, count in w.architecture.weights()) / w.tensor_parallel
    if shard.stage >= 3:
        gathers = 2 + (1 if w.checkpointing != "none" and shard.engine == "deepspeed" else 0)
        return share * (gathers * base + grads)
    if shard.stage >= 1:
        return share * (grads + (base if w.adapter is None else grads) / w.accumulation)
    return 2 * share * grads / w.accumulation


def _host(w: Workload) -> float:
    shard, trained = w.sharding, trained_parameters(w)
    host = 0.0
    if shard.offload_optimizer:
        host = trained.count / max(1, shard.ways) * 2 * w.compute_bytes / w.accumulation
    if shard.offload_weights:
        host += sum(_gathered(w, x) * c for x, c in w.architecture.weights()) / max(1, shard.ways) * 3
    return host


def _gathered(w: Workload, weight: Weight) -> float:
    if w.quantization is not None and is_quantized(weight):
        return weight.parameters * w.quantization.bytes_per_weight
    return float(weight.parameters * w.compute_bytes)


def _context_parallel(w: Workload) -> float:
    """Keys and values go once around the ring forward, once more backward, and their gradients in 32 bits with them
    (Liu et al. 2023, arXiv:2310.01889, section 3; ring_flash_attn/ring_flash_attn.py)."""
    ways, stack = w.context_parallel, w.architecture.decoder
    width = 2 * stack.kv_heads * stack.head_dim * stack.layers
    times = 2 + (1 if w.checkpointing != "none" else 0)
    return (ways - 1) * width * (times * w.compute_bytes + 4.0) * w.tokens


def _between_stages(w: Workload) -> float:
    """A stage receives hidden states and sends their gradient back; the next one does the opposite meanwhile."""
    return 2.0 * w.architecture.decoder.hidden * w.compute_bytes * w.tokens if w.stages > 1 else 0.0


def _tensor_parallel(w: Workload) -> float:
    """Two all-reduces of the hidden states per layer forward, two backward (Shoeybi et al. 2019, arXiv:1909.08053)."""
    ways = w.tensor_parallel
    if ways <= 1:
        return 0.0
    stack = w.architecture.decoder
    times = 4 + (2 if w.checkpointing != "none" else 0)
    return 2 * (ways - 1) / ways * times * stack.layers * stack.hidden * w.compute_bytes * w.tokens
