"""A ZeRO stage by name -> a DeepSpeed config with every value explicit."""

from __future__ import annotations

import re
from typing import Any

STAGES = ("zero1", "zero2", "zero3", "zero2_offload", "zero3_offload", "zero3_offload_all")
# Bundled with Axolotl under deepspeed_configs/; recipes pasted from its examples name these files.
_BUNDLED = re.compile(r"(?:.*/)?(zero[123])(?:_bf16)?(_cpuoffload_all|_cpuoffload_params|_torch_compile)?\.json")
# what DeepSpeed and transformers use when hidden_size is not known; see huggingface.co/docs/transformers/deepspeed
_UNKNOWN_HIDDEN = 4096


def stage_name(given: str) -> str:
    """`zero3` for `zero3` and for `deepspeed_configs/zero3_bf16.json`. Raises ValueError for neither."""
    if given in STAGES:
        return given
    match = _BUNDLED.fullmatch(given)
    if match is None:
        raise ValueError(given)
    return match[1] + (
        "_offload_all" if match[2] == "_cpuoffload_all" else "_offload" if match[2] == "_cpuoffload_params" else ""
    )


def deepspeed_config(
    given: str | dict[str, Any],
    *,
    ranks: int,
    micro_batch: int,
    accumulation: int,
    clip: float,
    bf16: bool,
    fp16: bool,
    hidden: int,
    cpu: bool,
) -> dict[str, Any]:
    """The config for `ranks` processes. Batch sizes are computed here and equal the trainer's: with `auto` the two can
    disagree. On a CPU (`cpu`) optimizer and parameters already live in host memory, so offload is taken out.

    Bucket sizes follow the Hugging Face integration's own rule: hidden**2 for reduction, nine tenths of that for
    prefetch, ten times hidden for parameters that stay gathered (huggingface.co/docs/transformers/deepspeed).
    """
    inline = dict(given) if isinstance(given, dict) else {}
    zero = (
        _zero(stage_name(given), hidden, cpu) if isinstance(given, str) else dict(inline.get("zero_optimization", {}))
    )
    if cpu:
        zero = {k: v for k, v in zero.items() if k not in ("offload_optimizer", "offload_param")}
        zero["overlap_comm"] = False
    offloads = "offload_optimizer" in zero
    return {
        **inline,
        "train_batch_size": ranks * micro_batch * accumulation,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clip,
        "bf16": {"enabled": bf16},
        "fp16": {"enabled": fp16},
        "zero_optimization": zero,
        # an optimizer that transformers built has been tested with ZeRO; DeepSpeed wants that said
        "zero_allow_untested_optimizer": not offloads,
        "steps_per_print": 2_000_000_000,
        "wall_clock_breakdown": False,
    }


def _zero(name: str, hidden: int, cpu: bool) -> dict[str, Any]:
    hidden = hidden or _UNKNOWN_HIDDEN
    stage = int(name[4])
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": not cpu, "contiguous_gradients": True}
    zero["reduce_bucket_size"] = max(hidden * hidden, 1_000_000)
    if stage == 2:
        zero["allgather_partitions"] = True
        zero["allgather_bucket_size"] = 200_000_000
        zero["reduce_scatter"] = True
    if stage == 3:
        zero["stage3_prefetch_bucket_size"] = int(0.9 * hidden * hidden)
        zero["stage3_param_persistence_threshold"] = 10 * hidden
        zero["stage3_max_live_parameters"] = 1_000_000_000
        zero["stage3_max_reuse_distance"] = 1_000_000_000
        zero["sub_group_size"] = 1_000_000_000
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if "_offload" in name:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if name.endswith("_all"):
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return zero
