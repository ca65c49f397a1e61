"""A program of runner/jobs, asked something in an engine's environment: one process, quiet, without a GPU."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.recipe.load import printable

_QUIET = {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# for what must not ask the hub
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def ask_program(
    env: Environment, arguments: Sequence[str], folder: Path, variables: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Python with `arguments`, run in `folder`, where runner/jobs can be imported. Raises subprocess.TimeoutExpired."""
    path = os.pathsep.join(filter(None, (str(jobs_dir()), variables.get("PYTHONPATH"))))
    return subprocess.run(
        [str(env.python), *arguments],
        cwd=folder,
        env={**os.environ, **_QUIET, **variables, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def last_word(said: str, limit: int) -> str:
    """The last line that says something; empty where none does."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(lines[-1], limit) if lines else ""
