"""Facts about machines: data/boxes/*.yaml, and box files of one's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from runner.facts.faults import BoxError, Fault, listed, near
from runner.facts.gpus import GpuFacts, find_gpu, gpu_names
from runner.facts.read import read_facts
from runner.facts.schedulers import Scheduler, make_scheduler, scheduler_faults
from runner.project import shipped

# What a box file leaves out. Per GPU, as clouds slice their eight-GPU nodes, rounded down: Lambda's 2 x H100 has 26
# cores and 225 GiB for each, RunPod's A100 8 and 117, AWS's p4de 12 and 144.
CORES_PER_GPU = 8
RAM_GIB_PER_GPU = 128.0
# of a box without a GPU: a laptop
CPU_CORES = 4
CPU_RAM_GIB = 16.0
DISK_GIB = 500.0
# between nodes: a 400 Gb/s InfiniBand port for each GPU, as clouds connect their nodes of H100s
NETWORK_GB_S_PER_GPU = 50.0

# keys that replace a fact of the GPU; its memory and compute capability have names that say whose they are
RATES = tuple(f.name for f in fields(GpuFacts) if f.name.endswith(("_tflops", "_tops", "_gb_s", "watts")))
COUNTS = ("gpus", "nodes", "cores")
WORDS = ("name", "gpu", "compute_capability", "generation")
NUMBERS = ("gpu_memory_gib", "ram_gib", "disk_gib", "price_usd_per_hour", "network_gb_s", *RATES)
KEYS = ("name", "gpus", "gpu", "nodes", "cores", *NUMBERS, "compute_capability", "generation", "scheduler")
MAY_BE_NOTHING = {"gpus", "disk_gib", "price_usd_per_hour", "network_gb_s", *RATES}
# without these nothing can be said about a GPU that we have no facts for
NEEDED = ("gpu_memory_gib", "compute_capability", "bf16_tflops", "memory_gb_s")
GENERATIONS = {70: "volta", 75: "turing", 80: "ampere", 86: "ampere", 89: "ada", 90: "hopper"}
GENERATIONS |= {100: "blackwell", 103: "blackwell", 120: "blackwell", 121: "blackwell"}
# one direction of 16 lanes of PCIe 4, in 10**9 bytes per second
PCIE_4_GB_S = 32.0


# how SkyPilot's catalogue calls the GPUs that it does not call by their driver's name
SKY_NAMES = {
    "NVIDIA A100-SXM4-40GB": "A100", "NVIDIA A100-PCIE-40GB": "A100", "NVIDIA A100-SXM4-80GB": "A100-80GB",
    "NVIDIA A100 80GB PCIe": "A100-80GB", "NVIDIA H100 80GB HBM3": "H100", "NVIDIA H100 PCIe": "H100",
    "NVIDIA H100 NVL": "H100-NVL", "NVIDIA GH200 480GB": "GH200", "NVIDIA GeForce RTX 4090": "RTX4090",
    "NVIDIA GeForce RTX 3090": "RTX3090", "NVIDIA GeForce RTX 5090": "RTX5090", "NVIDIA RTX A6000": "RTXA6000",
    "Tesla T4": "T4", "Tesla V100-SXM2-16GB": "V100", "Tesla V100-SXM2-32GB": "V100-32GB",
    "AMD Instinct MI300X": "MI300X",
}  # fmt: skip


# More than any group or replica has: a number that is a slip may have twenty digits, too many to be tried or listed one
# after the other.
MOST_GPUS = 1024


@dataclass(frozen=True, slots=True)
class Box:
    """A machine, or `nodes` equal ones with one network between them.

    Of each node: `gpus` accelerators, `cores`, `ram_gib`, `disk_gib` (free for artifacts and caches) and
    `network_gb_s`, 10**9 bytes per second to the other nodes in one direction (0 where there is one node). Memory is
    usable GiB per GPU; `compute_capability` as in `sm_90`. `price_usd_per_hour` is for all nodes together, 0 where
    it is not known or the machine is one's own. `facts` are those of the GPU, with what the box file says otherwise;
    of a box without a GPU those of its processor, all cores together, whose memory is the RAM.
    """

    name: str
    gpus: int
    gpu: str
    gpu_memory_gib: float
    compute_capability: str
    cores: int
    ram_gib: float
    nodes: int = 1
    disk_gib: float = DISK_GIB
    price_usd_per_hour: float = 0.0
    network_gb_s: float = 0.0
    facts: GpuFacts | None = None
    # who gives its nodes out; None where runs are started by hand or by the runner itself
    scheduler: Scheduler | None = None
    # keys that its file leaves out, for which the defaults above stand
    assumed: frozenset[str] = frozenset()

    @property
    def accelerators(self) -> str:
        """The GPUs of a node in SkyPilot's words, `H100:8`; nothing where there are none."""
        own = self.scheduler.accelerator if self.scheduler is not None else ""
        name = own or SKY_NAMES.get(self.gpu) or self.gpu.removeprefix("NVIDIA ").replace(" ", "-")
        return f"{name}:{self.gpus}" if self.gpus else ""

    @property
    def submits(self) -> bool:
        """Whether processes start on machines that Slurm gives out; on what SkyPilot found they start as anywhere."""
        return self.scheduler is not None and self.scheduler.type == "slurm"

    @property
    def total_gpus(self) -> int:
        """Of all nodes."""
        return self.gpus * self.nodes


def box_names() -> list[str]:
    return sorted(p.stem for p in (shipped("data") / "boxes").glob("*.yaml"))


@cache
def load_box(name: str) -> Box:
    """A box that ships with the runner. Raises KeyError when there is no such box."""
    if name not in box_names():
        raise KeyError(name)
    return make_box(name, read_facts(shipped("data") / "boxes" / f"{name}.yaml"))


def make_box(name: str, given: Mapping[str, Any], *, lenient: bool = False) -> Box:
    """The box that a file describes; `name` where it does not give its own. Raises BoxError; `lenient`, only for faults
    without whose mend there is no box.

    Only `gpus` is needed, and `gpu` where that is not 0. The rest comes from the GPU's facts and the defaults above.
    """
    faults = [fault for fault in box_faults(given) if not (lenient and fault.harmless)]
    if faults:
        raise BoxError(faults)
    gpus, nodes = given["gpus"], given.get("nodes", 1)
    network = given.get("network_gb_s") or (NETWORK_GB_S_PER_GPU * gpus if nodes > 1 else 0)
    cores = given.get("cores", gpus * CORES_PER_GPU or CPU_CORES)
    ram = float(given.get("ram_gib", gpus * RAM_GIB_PER_GPU or CPU_RAM_GIB))
    facts = _gpu(given) if gpus else _processor(given, cores, ram)
    return Box(
        name=given.get("name", name),
        gpus=gpus,
        gpu=facts.name if gpus else "none",
        gpu_memory_gib=facts.memory_gib if gpus else 0.0,
        compute_capability=facts.compute_capability,
        cores=cores,
        ram_gib=ram,
        nodes=nodes,
        disk_gib=float(given.get("disk_gib", DISK_GIB)),
        price_usd_per_hour=float(given.get("price_usd_per_hour", 0)),
        network_gb_s=float(network),
        facts=facts,
        scheduler=make_scheduler(given.get("scheduler")),
        assumed=frozenset({"cores", "ram_gib", "disk_gib"} - set(given)),
    )


def _gpu(given: Mapping[str, Any]) -> GpuFacts:
    """The facts of the GPU with this name, or those that the file gives; then what it says otherwise."""
    facts = find_gpu(given["gpu"], given.get("gpu_memory_gib")) or _own_gpu(given)
    changed = {key: given[key] for key in ("compute_capability", "generation") if key in given}
    changed |= {key: float(given[key]) for key in RATES if key in given}
    if "gpu_memory_gib" in given:
        changed["memory_gib"] = float(given["gpu_memory_gib"])
    return replace(facts, **changed)


def _own_gpu(given: Mapping[str, Any]) -> GpuFacts:
    """A GPU that we have no facts for. What is left out follows the data center GPUs since Ampere: fp16 as fast as
    bf16, tf32 half, int8 twice and plain fp32 a sixteenth of it; neither fp8 nor NVLink; PCIe 4."""
    bf16 = float(given["bf16_tflops"])
    capability = str(given["compute_capability"])
    digits = capability.removeprefix("sm_")
    return GpuFacts(
        name=given["gpu"],
        generation=GENERATIONS.get(int(digits), "unknown") if digits.isdigit() else "unknown",
        memory_gib=float(given["gpu_memory_gib"]),
        compute_capability=capability,
        bf16_tflops=bf16,
        fp16_tflops=bf16,
        tf32_tflops=bf16 / 2,
        fp32_tflops=bf16 / 16,
        fp8_tflops=0.0,
        int8_tops=bf16 * 2,
        memory_gb_s=float(given["memory_gb_s"]),
        nvlink_gb_s=0.0,
        pcie_gb_s=PCIE_4_GB_S,
        watts=0.0,
    )


def _processor(given: Mapping[str, Any], cores: int, ram_gib: float) -> GpuFacts:
    """The box's processor: the rates and watts of data/gpus/cpu.yaml are one core's."""
    core = find_gpu("cpu")
    assert core is not None, "data/gpus/cpu.yaml ships with the runner"
    per_core = [key for key in RATES if key.endswith(("_tflops", "_tops", "watts"))]
    scaled = {key: getattr(core, key) * cores for key in per_core}
    scaled |= {key: float(given[key]) for key in RATES if key in given}
    return replace(core, memory_gib=ram_gib, **scaled)


# --- what can be wrong ---


def box_faults(given: Mapping[str, Any]) -> list[Fault]:
    return [
        *_unknown(given),
        *_ill_typed(given),
        *_lacking(given),
        *scheduler_faults(given.get("scheduler"), given.get("nodes", 1)),
    ]


def _unknown(given: Mapping[str, Any]) -> list[Fault]:
    found = []
    for key in map(str, given):
        if key not in KEYS:
            close = near(key, KEYS)
            label = f"did you mean `{close}`?" if close else ""
            help = f"rename `{key}` to `{close}`" if close else f"remove `{key}`; a box has {listed(KEYS)}"
            found.append(Fault(key, f"unknown key `{key}`", label, help, of_key=True, harmless=True))
    return found


def _ill_typed(given: Mapping[str, Any]) -> list[Fault]:
    found = []
    for key, value in given.items():
        if key in WORDS and (not isinstance(value, str) or not value.strip()):
            found.append(Fault(key, f"`{key}` must be text", help=_example(key)))
        elif key in (*COUNTS, *NUMBERS):
            allowed = (int,) if key in COUNTS else (int, float)
            if isinstance(value, bool) or not isinstance(value, allowed):
                kind = "a whole number" if key in COUNTS else "a number"
                found.append(Fault(key, f"`{key}` must be {kind}", help=_example(key)))
            elif value < 0 or (value == 0 and key not in MAY_BE_NOTHING):
                least = "at least 0" if key in MAY_BE_NOTHING else "more than 0"
                found.append(Fault(key, f"`{key}` must be {least}, not {value:g}"))
        elif key == "compute_capability" and not re.fullmatch(r"sm_\d{2,3}|gfx[0-9a-f]{3,4}", value):
            found.append(Fault(key, f"`{key}` can't be `{value}`", help=_example(key)))
    return found


def _lacking(given: Mapping[str, Any]) -> list[Fault]:
    """Keys that this box needs, and those that contradict each other. Ill-typed values are another's matter."""
    if "gpus" not in given:
        return [Fault("", "the box does not say how many `gpus` it has", help="add `gpus: 1`, or `gpus: 0` for none")]
    found = []
    nodes = given.get("nodes", 1)
    if isinstance(nodes, int) and nodes > 1 and not given.get("network_gb_s"):
        help = "add `network_gb_s`, in 10**9 bytes per second and direction: 50 for each 400 Gb/s InfiniBand port"
        message = f"a box of {nodes} nodes needs the speed of its network"
        label = f"taken as {NETWORK_GB_S_PER_GPU} for each GPU"
        found.append(Fault("nodes", message, label, help, harmless=True))
    if given["gpus"] == 0 and given["gpus"] is not False:
        about = [key for key in ("gpu", "gpu_memory_gib", "compute_capability", "generation") if key in given]
        help = "remove it, or say how many `gpus` there are"
        return found + [Fault(key, f"a box without GPUs has no `{key}`", help=help, of_key=True) for key in about]
    gpu = given.get("gpu")
    if "gpu" not in given:
        found.append(Fault("gpus", "the box does not say which `gpu` it has", help=_example("gpu")))
    elif isinstance(gpu, str) and gpu.strip().lower() == "cpu":
        found.append(Fault("gpu", "`cpu` is no GPU", help="set `gpus: 0` and remove `gpu`"))
    elif isinstance(gpu, str) and gpu.strip() and find_gpu(gpu) is None and not set(NEEDED) <= set(given):
        missing = [key for key in NEEDED if key not in given]
        short = [name.partition("-")[0] for name in gpu_names()]
        close = near(gpu.lower(), [*gpu_names(), *(name for name in short if find_gpu(name))])
        label = f"did you mean `{close}`?" if close else ""
        help = f"add {listed(missing)}, or name one of {listed(gpu_names())}"
        found.append(Fault("gpu", f"there are no facts about the GPU `{gpu}`", label, help))
    return found


def _example(key: str) -> str:
    examples = {"gpu": "A100-80GB", "compute_capability": "sm_90", "generation": "hopper", "name": "my-box"}
    return f"for instance `{key}: {examples[key]}`" if key in examples else ""
