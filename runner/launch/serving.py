"""A recipe that serves -> servers that run: what must hold before, the start, and the wait until they are ready."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.launch import tied
from runner.launch.describe import start_record
from runner.launch.endpoints import OVER, POLL_S, Endpoint, forget, look, read_state, remember, settle
from runner.launch.locks import gpu_locks, hand_over
from runner.project import Project
from runner.provenance.snapshot import snapshot
from runner.recipe.resolve import Recipe
from runner.record import LOG, RECORD, fingerprint, new_run_dir, write_files, write_json
from runner.redact import mask_logs

SPEC = "endpoint.json"


def start(
    project: Project, recipe: Recipe, files: dict[str, str], *, detached: bool
) -> tuple[Path, subprocess.Popen[bytes]]:
    """Write the run directory and start its launch.sh. Unless `detached`, it drains and ends when we do, however.
    Its GPUs are its own for as long as it lives. Raises Refused (R414) where they are another's."""
    with gpu_locks(recipe, None) as locks:
        return _start(project, recipe, files, locks, detached=detached)


def _start(
    project: Project, recipe: Recipe, files: dict[str, str], locks: list[int], *, detached: bool
) -> tuple[Path, subprocess.Popen[bytes]]:
    run = new_run_dir(project, recipe.name, recipe.profile)
    write_files(run, files)
    record = start_record(recipe, fingerprint(recipe, files), run) | snapshot(project, recipe, files, run)
    record |= {"metrics": {}, "outputs": [], "error": None}
    write_json(run / RECORD, record)
    process = tied.start(recipe, run, ["launch.sh"], run / LOG, run, detached=detached, keep_open=locks)
    hand_over(locks, recipe.name, process.pid)
    write_json(run / RECORD, record | {"pid": process.pid})
    remember(run)
    return run, process


def wait_ready(run: Path, process: subprocess.Popen[bytes], told: Callable[[], None]) -> Endpoint:
    """Until it serves, or has ended. `told` is called all the while."""
    while process.poll() is None and read_state(run).get("status") not in ("ready", "degraded", *OVER):
        told()
        time.sleep(POLL_S)
    if read_state(run).get("status") in OVER:
        process.wait()
    return look(run)


def finish(run: Path, process: subprocess.Popen[bytes]) -> Endpoint:
    """After launch.sh has ended: what it came to, recorded."""
    process.wait()
    mask_logs(run, os.environ)
    ended = look(run)
    settle(ended)
    if ended.status == "stopped":
        forget(run)
    return ended


def spec_of(files: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files[SPEC])
    return found
