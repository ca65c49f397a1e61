"""Do the GPUs reach each other, how fast, and if not, what to switch: jobs/all_reduce.py in an engine's environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.engines import jobs_dir
from runner.engines.environment import Environment, environment
from runner.launch.local import MARK, end_stragglers
from runner.machine import HERE

# those with torch, first the one that will need it most
ENGINES = ("vllm", "axolotl", "llmcompressor")
# NCCL gives up after 60 s by itself, where it notices
TIMEOUT_S = 150.0
AROUND = "NCCL_P2P_DISABLE"
_SWITCHES = "turn off PCIe access control (ACS) in the firmware's setup, or boot with `iommu=pt`"


@dataclass(frozen=True, slots=True)
class Reduced:
    """`error` is empty where every rank got the right sum; `result` is then what the job printed."""

    result: dict[str, Any]
    error: str
    seconds: float


def ready_environment() -> Environment | None:
    """An environment with torch that is built already."""
    return next((env for env in map(environment, ENGINES) if env.ready), None)


def all_reduce(
    env: Environment, ranks: int, variables: dict[str, str] | None = None, *, timeout_s: float = TIMEOUT_S
) -> Reduced:
    """Runs it over `ranks` GPUs, or CPU processes where there are none; ends all of it when the time is over."""
    began, mark = time.monotonic(), f"all-reduce-{os.getpid()}"
    command = [str(env.python), "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    process = subprocess.Popen(
        [*command, str(jobs_dir() / "all_reduce.py")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(variables or {}), MARK: mark},
    )
    try:
        said, _ = process.communicate(timeout=timeout_s)
        error = "" if process.returncode == 0 else _last_error(said)
    except subprocess.TimeoutExpired:
        said, error = "", f"it hung for {timeout_s:.0f} s"
    finally:
        _end(process)
        end_stragglers(Path(mark))
    result = next((_parsed(line) for line in said.splitlines() if line.startswith('{"ranks"')), {})
    if not error and not result:
        error = "it printed no result"
    if not error and not all(row["right"] for row in result["sizes"]):
        error = "the sums were wrong"
    return Reduced(result, error, time.monotonic() - began)


def _end(process: subprocess.Popen[str]) -> None:
    """torchrun ends its ranks, which have sessions of their own, when it is asked to."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "Error: " in line or "NCCL WARN" in line]
    return ([*lines[-1:], *telling] or ["it said nothing"])[-1].removeprefix("[rank0]: ")[:300]


def diagnose(failed: Reduced, around: Reduced | None) -> Diagnostic:
    """`around` is the same with NCCL_P2P_DISABLE=1, where that was tried."""
    notes = (f"the all-reduce: {failed.error}", "tensor parallel sums over all GPUs in every layer")
    if around is not None and not around.error:
        speed = around.result["sizes"][-1]["gb_s"]
        return Diagnostic(
            "R333",
            "the GPUs don't reach each other over PCIe",
            HERE,
            notes=(*notes, f"with {AROUND}=1 it works, through host memory, at {speed:.1f} GB/s"),
            help=f"set {AROUND}=1 for serving and training; or, to have the full speed, {_SWITCHES}",
        )
    tried = (f"with {AROUND}=1: {around.error}",) if around is not None else ()
    help = f"set NCCL_DEBUG=INFO and run it again; look at `nvidia-smi topo -m` and `dmesg`; {_SWITCHES}"
    return Diagnostic("R333", "the GPUs can't sum over each other", HERE, notes=(*notes, *tried), help=help)
