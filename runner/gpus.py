"""The GPUs of this machine, by nvidia-smi: what it says, and what it means when it says nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass

SMI_TIMEOUT_S = 5.0
SMI_FIELDS = "name,memory.total,memory.free,driver_version,compute_cap"


@dataclass(frozen=True, slots=True)
class Gpu:
    """Memory in GiB as nvidia-smi reports it; `compute_capability` as in `sm_90`, empty where unknown."""

    name: str
    memory_gib: float
    free_gib: float
    compute_capability: str


def ask_smi() -> list[subprocess.Popen[str]]:
    """All questions at once: without the persistence daemon each takes a second or more."""
    if shutil.which("nvidia-smi") is None:
        return []
    questions: tuple[list[str], ...] = (
        [f"--query-gpu={SMI_FIELDS}", "--format=csv,noheader,nounits"],
        [],
        ["nvlink", "--status"],
    )
    try:
        return [
            subprocess.Popen(
                ["nvidia-smi", *question], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            for question in questions
        ]
    except OSError:
        return []


def read_smi(asked: list[subprocess.Popen[str]]) -> tuple[tuple[Gpu, ...], str, str, int, tuple[str, ...]]:
    """GPUs, driver, newest CUDA, NVLink links, notes."""
    if not asked:
        return (), "", "", 0, ()
    end = time.monotonic() + SMI_TIMEOUT_S
    answers = [_answer(child, end) for child in asked]
    code, text = answers[0]
    if code is None:
        return (), "", "", 0, (f"nvidia-smi gave no answer in {SMI_TIMEOUT_S:.0f} s: the driver hangs",)
    if code != 0:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "no word why")
        return (), "", "", 0, (f"nvidia-smi failed (exit code {code}): {first[:200]}",)
    gpus, driver = parse_gpus(text)
    return gpus, driver, parse_cuda(answers[1][1]), parse_nvlink(answers[2][1]), ()


def gpu_uuids() -> list[str]:
    """In nvidia-smi's order; empty where it says nothing."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=2 * SMI_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("GPU-")] if not done.returncode else []


def _answer(child: subprocess.Popen[str], end: float) -> tuple[int | None, str]:
    try:
        text, _ = child.communicate(timeout=max(0.01, end - time.monotonic()))
        return child.returncode, text
    except subprocess.TimeoutExpired:
        # not waited for: a process that hangs in the driver can't even be killed
        child.kill()
        return None, ""


def parse_gpus(text: str) -> tuple[tuple[Gpu, ...], str]:
    """GPUs and the driver's version, from `--format=csv,noheader,nounits` with SMI_FIELDS; memory is in MiB there."""
    gpus, driver = [], ""
    for line in text.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 4)]
        if len(fields) != 5:
            continue
        name, total, free, driver, capability = fields
        cc = "sm_" + capability.replace(".", "") if re.fullmatch(r"\d+\.\d", capability) else ""
        gpus.append(Gpu(name, _mib(total), _mib(free), cc))
    return tuple(gpus), driver


def _mib(text: str) -> float:
    # `[N/A]` where the GPU is split (MIG) or shares the host's memory
    return int(text) / 1024 if text.isdigit() else 0.0


def parse_cuda(text: str) -> str:
    """The driver's newest CUDA, from the header of plain `nvidia-smi`."""
    found = re.search(r"CUDA (?:UMD )?Version:\s*(\d+\.\d+)", text)
    return found[1] if found else ""


def parse_nvlink(text: str) -> int:
    """Active links of the GPU that has fewest, from `nvidia-smi nvlink --status`."""
    parts = re.split(r"^GPU \d+:.*$", text, flags=re.MULTILINE)[1:]
    return min((len(re.findall(r"Link \d+: [\d.]+ GB/s", part)) for part in parts), default=0)


def visible(gpus: tuple[Gpu, ...], setting: str | None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, and a note where it takes some away."""
    if setting is None or not gpus:
        return gpus, ()
    names = [word.strip() for word in setting.split(",") if word.strip()]
    if all(name.isdigit() for name in names):
        kept = tuple(gpus[int(name)] for name in names if int(name) < len(gpus))
    else:
        kept = gpus[: sum(not name.startswith("-") for name in names)]
    hidden = len(gpus) - len(kept)
    return kept, (f"CUDA_VISIBLE_DEVICES hides {hidden} of {len(gpus)} GPUs",) if hidden else ()
