"""A rendered script -> a process in a session of its own, which drains and ends when we do; and what it said last."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runner.engines import jobs_dir
from runner.launch.describe import environment_paths
from runner.launch.local import MARK
from runner.recipe.resolve import Recipe
from runner.redact import redact


def start(
    recipe: Recipe,
    folder: Path,
    script: Sequence[str],
    log: Path,
    mark: Path,
    *,
    detached: bool,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """`script` and its options, run by bash in `folder`; its output goes to `log`. All its processes carry `mark`.
    Unless `detached` it is told to end when we do, however. `keep_open` are files that it inherits (locks)."""
    tie = [sys.executable, "-I", "-S", str(jobs_dir() / "endpoint" / "tie.py"), str(os.getpid()), "SIGTERM"]
    log.write_bytes(b"")
    with log.open("ab") as out:  # secrets are masked in place meanwhile
        return subprocess.Popen(
            [*([] if detached else tie), "bash", *script],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment_paths(recipe), MARK: str(mark)},
            pass_fds=keep_open,
        )


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """The script has become a program of ours by then, or is a shell with one small step before it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)


def last_line(log: Path) -> str:
    """Why it ended: its own error line, else the last one; empty where it wrote nothing."""
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        told = ([*lines[-1:], *errors] or [""])[-1].removeprefix("error: ")[:400]
        return redact(told)
    return ""
