"""A finished run of kind rag -> its service: the start, the wait until it answers, and nothing left after its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.engines import environments_of, jobs_dir
from runner.engines.environment import environment
from runner.engines.serving import HOST, is_loopback
from runner.launch.endpoints import POLL_S
from runner.launch.exposure import WILDCARDS
from runner.launch.local import MARK, end_stragglers, marked
from runner.project import Project
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import fingerprint, latest, read_run

CONFIG, SCRIPT, LOG = "rag.json", "serve.sh", "serve.log"
# what an embedded store takes to write down what it has in memory
CLOSING_S = 20.0


def ingested(project: Project, recipe: Recipe) -> Path:
    """The newest finished run. Raises Refused (R340)."""
    run = latest(project, recipe.name, recipe.profile)
    if run is None or not (run / SCRIPT).is_file():
        profile = "" if recipe.profile == "full" else f" PROFILE={recipe.profile}"
        raise Refused(
            Diagnostic(
                "R340",
                f"`{recipe.name}` ({recipe.profile}) has no index yet",
                Span(recipe.doc.file, 1, 1),
                help=f"`make recipe R={recipe.name}{profile}` makes it; `make rag` does both",
            )
        )
    return run


def is_current(run: Path, recipe: Recipe, files: dict[str, str]) -> bool:
    found = read_run(run)
    return found is not None and found.fingerprint == fingerprint(recipe, files)


def service_spec(run: Path, host: str | None, port: int | None) -> dict[str, Any]:
    """Where it will listen, in the words of endpoint.json, which `check_endpoint` reads."""
    told = json.loads((run / CONFIG).read_text())["service"]
    server = {"name": "the service", "port": port or int(told["port"])}
    return {"host": host or told["host"], "key_file": told["api_key_file"], "proxy": None, "replicas": [server]}


def url_of(spec: dict[str, Any]) -> str:
    """As it is reached from this machine."""
    host = str(spec["host"]).strip("[]")
    host = HOST if host in WILDCARDS and not is_loopback(host) else host
    return f"http://{f'[{host}]' if ':' in host else host}:{spec['replicas'][0]['port']}"


def start(run: Path, recipe: Recipe, spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    """serve.sh in a session of its own, which drains and ends when we do, however. Its output goes to serve.log."""
    options = ["--host", str(spec["host"]), "--port", str(spec["replicas"][0]["port"])]
    tie = [sys.executable, "-I", "-S", str(jobs_dir() / "endpoint" / "tie.py"), str(os.getpid()), "SIGTERM"]
    own, *others = map(environment, environments_of(recipe))
    with (run / LOG).open("wb") as log:
        return subprocess.Popen(
            [*tie, "bash", SCRIPT, *options],
            cwd=run,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                "RUNNER_ENV": str(own.path),
                **{f"RUNNER_ENV_{e.engine.upper()}": str(e.path) for e in others},
                MARK: mark(run),
            },
        )


def mark(run: Path) -> str:
    """Not the run's own, by which a run that is started again ends what an earlier one left."""
    return f"{run}/service"


def wait_ready(url: str, process: subprocess.Popen[bytes], told: Callable[[str], None]) -> bool:
    """Until store and language model answer; False where it has ended before. `told` is called all the while, with what
    is still missing."""
    missing = ""
    while process.poll() is None:
        told(missing)
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=10):  # noqa: S310 - our own
                return True
        except urllib.error.HTTPError as error:
            with suppress(OSError, ValueError):
                parts = json.loads(error.read())
                missing = next((v for k, v in parts.items() if k != "status" and v != "ok"), missing)
        except OSError:
            pass  # it does not listen yet
        time.sleep(4 * POLL_S)
    return False


def finish(run: Path, process: subprocess.Popen[bytes]) -> int:
    """After it has ended: an embedded store gets the time to close, and what is left then is killed. The exit code."""
    code = process.wait()
    end = time.monotonic() + CLOSING_S
    while marked(mark(run)) and time.monotonic() < end:
        time.sleep(POLL_S)
    end_stragglers(mark(run))
    return code


def last_line(run: Path) -> str:
    """What it said of its end: its own error line, else the last one."""
    with suppress(OSError):
        lines = [line.strip() for line in (run / LOG).read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or ["it wrote nothing"])[-1].removeprefix("error: ")[:400]
    return "it wrote nothing"
