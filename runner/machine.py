"""This machine, without torch: cores, memory, GPUs, compilers; and what it lacks for a box or for compiled kernels."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.facts.boxes import Box
from runner.gpus import Gpu, ask_smi, read_smi, visible

GIB = 1024**3
HERE = Span("<this machine>")
NVCC_TIMEOUT_S = 5.0
# drivers and vendors differ by a few hundred MiB in what they call 80 GB, and firmware keeps some RAM for itself
GPU_MEMORY_TOLERANCE = 0.03
RAM_TOLERANCE = 0.10
# What PyPI's torch 2.13.0 is built for, by its companion torchvision 0.28.0, whose wheel calls itself +cu130.
TORCH_CUDA = "13.0"
# docs.nvidia.com/datacenter/tesla/drivers: CUDA 13 needs the R580 branch, or NVIDIA's forward compatibility package
CUDA_13_DRIVER = 580
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")


@dataclass(frozen=True, slots=True)
class Machine:
    """`gpus` are those a run may use. Empty text, None and 0 mean: not there, or not known (then `notes` says why).

    `driver_cuda` is the newest CUDA that the driver runs; `nvlink` the active links of the GPU that has fewest.
    `tokens` are names, never values.
    """

    system: str
    python: str
    cores: int
    ram_gib: float
    ram_available_gib: float
    disk_free_gib: float
    disk: str
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    driver_cuda: str = ""
    nvlink: int = 0
    cxx: str = ""
    nvcc: str = ""
    nvcc_version: str = ""
    ninja: str = ""
    cuda_home: str = ""
    tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def probe(root: Path | None = None) -> Machine:
    """Look at this machine. `root` is where artifacts go (its disk counts): the working folder by default."""
    asked = ask_smi()
    total, available = _ram_gib()
    disk = _existing(root or Path.cwd())
    cuda_home = _cuda_home()
    nvcc = shutil.which("nvcc") or (shutil.which("nvcc", path=f"{cuda_home}/bin") if cuda_home else None) or ""
    gpus, driver, driver_cuda, links, notes = read_smi(asked)
    gpus, hidden = visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cores=_cores(),
        ram_gib=total,
        ram_available_gib=available,
        disk_free_gib=shutil.disk_usage(disk).free / GIB,
        disk=str(disk),
        gpus=gpus,
        driver=driver,
        driver_cuda=driver_cuda,
        nvlink=links,
        cxx=next(filter(None, map(shutil.which, _wanted_compilers())), None) or "",
        nvcc=nvcc,
        nvcc_version=_nvcc_version(nvcc),
        ninja=shutil.which("ninja") or "",
        cuda_home=cuda_home,
        tokens=tuple(_tokens()),
        notes=(*notes, *hidden),
    )


def _existing(path: Path) -> Path:
    path = path.resolve()
    return next(p for p in (path, *path.parents) if p.is_dir())


def _wanted_compilers() -> tuple[str, ...]:
    # torch compiles extensions with $CXX, else c++
    own = os.environ.get("CXX", "").split()
    return (own[0],) if own else ("c++", "g++", "clang++")


def _cuda_home() -> str:
    """Where torch would look for CUDA, in its order (torch.utils.cpp_extension)."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if given := os.environ.get(name):
            return given
    if nvcc := shutil.which("nvcc"):
        return str(Path(nvcc).parent.parent)
    return "/usr/local/cuda" if Path("/usr/local/cuda").exists() else ""


def _nvcc_version(nvcc: str) -> str:
    if not nvcc:
        return ""
    try:
        done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=NVCC_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"release (\d+\.\d+)", done.stdout)
    return found[1] if found else ""


def _tokens() -> Iterator[str]:
    for name in TOKENS:
        if os.environ.get(name):
            yield name
    home = os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")  # noqa: PTH111 - may have no home
    if Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").is_file():
        yield "Hugging Face token file"


# --- processors and memory, less what a container or a scheduler has set apart ---


def _cores() -> int:
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    for folder in _cgroups():
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            count = min(count, max(1, round(int(quota) / int(period))))
    return count


def _ram_gib() -> tuple[float, float]:
    """Total and available."""
    found: dict[str, str] = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read(Path("/proc/meminfo")), re.MULTILINE))
    if "MemTotal" not in found:
        total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        return total / GIB, total / GIB
    total, available = float(found["MemTotal"]) * 1024, float(found.get("MemAvailable", found["MemTotal"])) * 1024
    for folder in _cgroups():
        limit, used = _read(folder / "memory.max"), _read(folder / "memory.current")
        if limit.isdigit() and int(limit) < total:
            total = float(limit)
        if limit.isdigit() and used.isdigit():
            available = min(available, max(0.0, float(limit) - float(used)))
    old = _read(Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    total = min(total, float(old)) if old.isdigit() else total
    return total / GIB, min(available, total) / GIB


def _cgroups() -> list[Path]:
    """This process's cgroup (version 2) and those above it; each may set a limit."""
    top = Path("/sys/fs/cgroup")
    own = re.search(r"^0::/(.*)$", _read(Path("/proc/self/cgroup")), re.MULTILINE)
    inner = top / own[1] if own else top
    return [p for p in (inner, *inner.parents) if p == top or top in p.parents]


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


# --- what is lacking ---


def check_box(machine: Machine, box: Box, recipe: str = "NAME", make: str = "recipe R") -> list[Diagnostic]:
    """What this machine lacks of the box that a recipe is meant for (R310 to R313, R321), each cause once. `make` is
    how the recipe is made: its target, and the variable that names the recipe."""
    help = f"`make {make}={recipe} PROFILE=smoke` runs the same pipeline in small on this machine"
    found = []

    def lacks(code: str, message: str, *notes: str, help: str = help) -> None:
        found.append(Diagnostic(code, message, HERE, notes=notes, help=help))

    if box.nodes > 1:
        found.append(several_nodes(box, recipe))
    here = len(machine.gpus)
    if here < box.gpus:
        lacks("R310", f"box `{box.name}` has {_gpus(box.gpus)} ({box.gpu}), this machine {_gpus(here)}", *machine.notes)
    used = machine.gpus[: box.gpus]
    least = min((g.memory_gib for g in used if g.memory_gib), default=box.gpu_memory_gib)
    if least < box.gpu_memory_gib * (1 - GPU_MEMORY_TOLERANCE):
        lacks("R311", f"box `{box.name}` has {box.gpu_memory_gib:g} GiB per GPU, this machine {least:.1f} GiB")
    if machine.ram_gib < box.ram_gib * (1 - RAM_TOLERANCE):
        lacks("R312", f"box `{box.name}` has {box.ram_gib:g} GiB of RAM, this machine {machine.ram_gib:.0f} GiB")
    oldest = min((g.compute_capability for g in used if g.compute_capability), key=_capability, default="")
    if oldest and _capability(oldest) < _capability(box.compute_capability):
        lacks("R313", f"box `{box.name}` has GPUs of {box.compute_capability}, this machine of {oldest}")
    return found + (check_driver(machine) if box.gpus else [])


def several_nodes(box: Box, recipe: str) -> Diagnostic:
    return Diagnostic(
        "R314",
        f"box `{box.name}` has {box.nodes} nodes, and a run here starts processes on this machine alone",
        HERE,
        help=f"`runner render {recipe} --box {box.name} --out DIR` writes `hosts.sh`, which starts it over ssh; a box "
        "with a `scheduler`, such as `slurm-4x8xh100`, is submitted",
    )


def check_driver(machine: Machine) -> list[Diagnostic]:
    """R321 where the driver is too old for the CUDA that torch is built for."""
    branch = machine.driver.partition(".")[0]
    newest = machine.driver_cuda.partition(".")[0]
    # with NVIDIA's forward compatibility package in use, an older driver does report CUDA 13
    runs_13 = newest.isdigit() and int(newest) >= 13
    if not machine.gpus or not branch.isdigit() or int(branch) >= CUDA_13_DRIVER or runs_13:
        return []
    return [
        Diagnostic(
            "R321",
            f"the NVIDIA driver {machine.driver} is too old for torch",
            HERE,
            notes=(f"torch is built for CUDA {TORCH_CUDA}, which needs driver {CUDA_13_DRIVER} or newer",),
            help=f"update the driver to {CUDA_13_DRIVER} or newer, or install NVIDIA's package cuda-compat-13-0",
        )
    ]


def check_compilers(machine: Machine, needs_cpu_adam: bool) -> list[Diagnostic]:
    """R320 where DeepSpeed can't compile its CPU Adam, which it does at the first step of a run that offloads.

    On a GPU machine its builder (op_builder/builder.py of 0.18.9) links curand from CUDA_HOME, and wants the very
    CUDA version of torch: its table of versions that go together ends at 12.
    """
    if not needs_cpu_adam:
        return []
    why = "optimizer offload uses DeepSpeed's CPU Adam, which is compiled when a run first needs it"
    skip = "or set DS_SKIP_CUDA_CHECK=1 to try with this one"

    def lacks(message: str, help: str) -> Diagnostic:
        return Diagnostic("R320", message, HERE, notes=(why,), help=help)

    found = []
    if not machine.cxx:
        found.append(lacks("there is no C++ compiler", "install g++ (Debian: build-essential)"))
    if machine.gpus and not (machine.cuda_home and machine.nvcc):
        toolkit = f"install the CUDA {TORCH_CUDA} toolkit and set CUDA_HOME to it"
        found.append(lacks("there is no CUDA toolkit (nvcc, CUDA_HOME)", toolkit))
    elif machine.gpus and machine.nvcc_version != TORCH_CUDA:
        message = f"the CUDA toolkit is {machine.nvcc_version or 'of an unknown version'}, torch's is {TORCH_CUDA}"
        found.append(lacks(message, f"point CUDA_HOME at a CUDA {TORCH_CUDA} toolkit, {skip}"))
    return found


def _gpus(count: int) -> str:
    return "no GPU" if count == 0 else "1 GPU" if count == 1 else f"{count} GPUs"


def _capability(name: str) -> int:
    digits = name.removeprefix("sm_")
    return int(digits) if digits.isdigit() else 0
