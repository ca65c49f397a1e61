"""DeepSpeed's and FSDP's keys -> who holds which weights, gradients and optimizer states."""

from __future__ import annotations

from typing import Any

from runner.engines.deepspeed import deepspeed_config
from runner.facts.architecture import Architecture
from runner.plan.keys import fsdp_section
from runner.plan.workload import Sharding

# torch.nn.parallel.DistributedDataParallel reduces gradients in buckets that together are as large as the gradients;
# accelerate leaves `gradient_as_bucket_view` off, so that they are kept twice
_DDP = Sharding("ddp", 0, 1)


def read_sharding(
    values: dict[str, Any], ranks: int, tensor_parallel: int, architecture: Architecture, *, mixed: bool, adapter: bool
) -> Sharding:
    """Of `ranks` processes of which `tensor_parallel` share one copy of each matrix. Those that share a sequence have
    the same weights, and average gradients as those with other data do.

    `mixed`: automatic mixed precision is on, for which accelerate's FSDP keeps what is trained in 32 bits
    (utils/fsdp_utils.py of 1.13: "FSDP upcast").
    """
    if values.get("deepspeed"):
        return _deepspeed(values["deepspeed"], ranks, architecture)
    if values.get("fsdp") or values.get("fsdp_config") or values.get("fsdp_version"):
        return _fsdp(values, ranks, mixed=mixed, adapter=adapter)
    if ranks // tensor_parallel > 1:
        return _DDP
    return Sharding("none", 0, 1)


def _deepspeed(given: Any, ranks: int, architecture: Architecture) -> Sharding:
    config = deepspeed_config(
        given, ranks=ranks, micro_batch=1, accumulation=1, clip=1.0, bf16=True, fp16=False,
        hidden=architecture.decoder.hidden, cpu=False,
    )["zero_optimization"]  # fmt: skip
    stage = int(config.get("stage", 0))
    return Sharding(
        engine="deepspeed",
        stage=stage,
        ways=ranks if stage else 1,
        # its 16-bit optimizers keep 32-bit weights of their own (runtime/zero/stage_1_and_2.py, stage3.py)
        master_bytes=4,
        offload_optimizer=_moves(config.get("offload_optimizer")),
        offload_weights=_moves(config.get("offload_param")),
        reduce_bucket=_count(config.get("reduce_bucket_size"), 500_000_000),
        persistent=_count(config.get("stage3_param_persistence_threshold"), 100_000),
        live=_count(config.get("stage3_max_live_parameters"), 1_000_000_000),
    )


def _moves(offload: Any) -> bool:
    return isinstance(offload, dict) and offload.get("device", "cpu") not in (None, "none")


def _count(given: Any, default: int) -> int:
    return int(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else default


def _fsdp(values: dict[str, Any], ranks: int, *, mixed: bool, adapter: bool) -> Sharding:
    config = fsdp_section(values)
    listed = values.get("fsdp")
    words = listed if isinstance(listed, list) else str(listed or "").split()
    strategy = str(config.get("sharding_strategy") or "").upper()
    reshard = config.get("reshard_after_forward", True) not in (False, "SHARD_GRAD_OP", "NO_SHARD")
    half = "shard_grad_op" in words or "SHARD_GRAD_OP" in strategy or not reshard
    none = "no_shard" in words or strategy == "NO_SHARD"
    ways = int(values.get("dp_shard_size") or 0) or ranks // max(1, int(values.get("dp_replicate_size") or 1))
    return Sharding(
        engine="fsdp",
        stage=0 if none else 2 if half else 3,
        ways=1 if none else max(1, min(ways, ranks)),
        master_bytes=4 if mixed and not adapter else 0,
        offload_optimizer=bool(config.get("offload_params")) or "offload" in words,
        offload_weights=bool(config.get("offload_params")) or "offload" in words,
    )
