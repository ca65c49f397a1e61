"""Recipe -> GiB of host RAM, all ranks together: the largest of preparing data, loading, training, saving, merging."""

from __future__ import annotations

from runner.plan.datasets import read_in_place
from runner.plan.keys import fsdp_section
from runner.plan.memory.peak import peak
from runner.plan.memory.states import base_parameters, states
from runner.plan.types import Estimate, Store
from runner.plan.workload import Workload
from runner.recipe.resolve import Recipe

GIB = 2**30

# Resident size of one training process before its model: Python, torch, Axolotl and all that they import. Measured on
# this CPU build over the 23 smoke runs (data/measured/cpu.csv): 0.82 for a causal trainer, a little more with TRL's
# and with DeepSpeed.
PROCESS = 0.82
# The same of jobs/trainer, which hides what it does not use from transformers: 0.55 over its four smoke runs.
TRAINER = 0.55
# a stage of a DeepSpeed pipeline, which imports no Axolotl: phase2/parallel-pipeline in smoke
PIPELINE = 0.64
TRL = 0.03
DEEPSPEED = 0.02
# A process that uses CUDA holds the driver's and the libraries' host side on top: 1.7 GiB of 2.0 in pytorch/pytorch
# issue 113326, 2.4 of 2.7 in issue 70416; cuDNN and NCCL come later. Not measured here, where there is no GPU.
CUDA = 2.4
# the same for merging, which imports less
MERGER = 0.58
# Workers of datasets' map, forked from a rank: 8 of them held 1.75 GiB beyond what they shared with it, measured here.
# They are as many as cores unless `dataset_num_proc` says otherwise (axolotl utils/datasets.py).
MAP_WORKER = 0.22
# a dataloader's worker is forked likewise, and keeps a few batches
LOADER_WORKER = 0.25
# transformers writes files up to this size (save_pretrained, max_shard_size); the hub holds them mostly cut at 10 GB
FILE_BYTES = 50e9
HUB_FILE_BYTES = 10e9
# Intervals: on a CPU within what the smoke runs and three of 136M parameters showed; with GPUs the drivers differ.
_NARROW = (0.85, 1.2)
_WIDE = (0.75, 1.5)


def host_ram(recipe: Recipe, w: Workload) -> Store:
    """`breakdown` is that of the largest moment. Compare with the resident sizes of the ranks, added up.

    Pages of the checkpoint that ranks have mapped while they load count once: they are the kernel's to drop.
    """
    moments = [
        _prepare(recipe, w),
        _load(recipe, w),
        _train(recipe, w),
        _save(recipe, w),
        *([_merge(recipe, w)] if recipe.merge else []),
    ]
    parts = max(moments, key=lambda moment: sum(moment.values()))
    parts = {name: gib for name, gib in parts.items() if gib}
    total = sum(parts.values())
    low, high = _WIDE if w.box.gpus else _NARROW
    return Store(Estimate(total, total * low, total * high), parts, w.box.ram_gib * w.box.nodes)


def _processes(recipe: Recipe, w: Workload) -> float:
    if w.stages > 1:
        return w.ranks * (PIPELINE + (CUDA if w.box.gpus else 0.0))
    plain = w.objective in ("sft", "pretrain")
    each = TRAINER if recipe.engine == "transformers" else PROCESS + (0.0 if plain else TRL)
    each += DEEPSPEED if w.sharding.engine == "deepspeed" else 0.0
    return w.ranks * (each + (CUDA if w.box.gpus else 0.0))


def _prepare(recipe: Recipe, w: Workload) -> dict[str, float]:
    """One rank of a node tokenizes while the others wait (axolotl utils/data/lock.py); streams need no workers."""
    workers = 0 if read_in_place(recipe) or w.stages > 1 else int(recipe.values.get("dataset_num_proc") or w.box.cores)
    return {"processes": _processes(recipe, w), "workers": MAP_WORKER * workers * w.box.nodes if workers > 1 else 0.0}


def _load(recipe: Recipe, w: Workload) -> dict[str, float]:
    """What is loaded goes to its GPU tensor by tensor; under FSDP the model is made in RAM first, by every rank unless
    `cpu_ram_efficient_loading` (axolotl loaders/model.py, _set_device_map_config)."""
    parts = {"processes": _processes(recipe, w)}
    if recipe.architecture is None:
        # safetensors maps the files; on a CPU each rank's weights are a copy of what is mapped
        parts["checkpoint"] = _file_bytes(recipe, w) / GIB
    if not w.box.gpus:
        parts["weights"] = w.ranks * (states(w).weights + states(w).quantized) / GIB
    elif w.sharding.engine == "fsdp":
        once = fsdp_section(recipe.values).get("cpu_ram_efficient_loading")
        parts["weights"] = (w.box.nodes if once else w.ranks) * base_parameters(w) * w.compute_bytes / GIB
    return parts


def _train(recipe: Recipe, w: Workload) -> dict[str, float]:
    parts = {"processes": _processes(recipe, w), **_held(w)}
    loaders = int(recipe.values.get("dataloader_num_workers") or 0)
    parts["workers"] = LOADER_WORKER * loaders * w.ranks
    if not w.box.gpus:
        parts |= {name: w.ranks * size / GIB for name, size in _on_cpu(w).items()}
    return parts


def _held(w: Workload) -> dict[str, float]:
    """What is offloaded into RAM, in pinned memory."""
    s = states(w)
    held = {"offloaded weights": s.host_weights, "offloaded optimizer": s.host_optimizer}
    held["offloaded gradients"] = s.host_gradients
    return {name: w.ranks * size / GIB for name, size in held.items()} if w.box.gpus else {}


def _on_cpu(w: Workload) -> dict[str, float]:
    """A rank's weights, gradients, states and activations, which all lie in RAM. A part counts with the most that it
    takes at any moment: what is freed goes back to the heap, and little of that to the system. torch steps on a CPU
    one weight at a time, so that a step's scratch stays small, but for DeepSpeed's."""
    found: dict[str, float] = {}
    for parts in peak(w).moments.values():
        for name, size in parts.items():
            found[name] = max(found.get(name, 0.0), size)
    found.pop("workspace", None)
    found.pop("server", None)
    found.pop("pipe", None)  # views of activations that are counted
    if w.sharding.engine != "deepspeed":
        found.pop("scratch", None)
    if w.sharding.stage >= 3:
        # all that fits below `stage3_max_live_parameters` stays gathered
        live = min(w.sharding.live or base_parameters(w), base_parameters(w))
        found["gathered"] = max(found.get("gathered", 0.0), live * w.compute_bytes)
    return found


def _save(recipe: Recipe, w: Workload) -> dict[str, float]:
    """ZeRO-3 and FSDP gather the whole model on rank 0, in 16 bits and as it is kept (accelerate, get_state_dict);
    elsewhere safetensors copies one file's tensors from the GPU (safetensors/torch.py, _flatten_as_ptr)."""
    parts = {"processes": _processes(recipe, w), **_held(w)}
    if not w.box.gpus:
        parts |= {name: w.ranks * size / GIB for name, size in _on_cpu(w).items()}
    count = base_parameters(w)
    if w.sharding.stage >= 3:
        each = w.weight_bytes if w.sharding.engine == "fsdp" else w.compute_bytes
        parts["gathered for saving"] = count * each / GIB
    elif w.box.gpus and w.adapter is None:
        parts["gathered for saving"] = min(count * w.weight_bytes, FILE_BYTES) / GIB
    return parts


def _merge(recipe: Recipe, w: Workload) -> dict[str, float]:
    """One process goes through the base file by file: the file is mapped, the merged tensors lie beside it (axolotl
    cli/utils/lora_merge.py). A reward model is loaded whole (runner/jobs/merge_reward.py)."""
    whole = recipe.values.get("reward_model")
    size = (base_parameters(w) * w.compute_bytes if whole else _file_bytes(recipe, w)) / GIB
    return {"processes": MERGER + (CUDA if w.box.gpus else 0.0), "base": size, "merged": size}


def _file_bytes(recipe: Recipe, w: Workload) -> float:
    """The base model's largest file."""
    local = str(recipe.values.get("base_model") or "").startswith("/")
    return min(base_parameters(w) * w.compute_bytes, FILE_BYTES if local else HUB_FILE_BYTES)
