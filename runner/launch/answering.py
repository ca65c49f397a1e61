"""A finished run of kind rag -> its service: the start, the wait until it answers, and nothing left after its end.

`service/` in the run's folder is to the service what a run's folder is to an endpoint of kind serve: its record and its
state lie there, so that `runner ps` and `runner stop` see the one as they see the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.engines.serving import HOST
from runner.facts.servers import WILDCARDS, is_loopback
from runner.launch import tied
from runner.launch.ended import SERVICE, SERVICE_LOG
from runner.launch.endpoints import OVER, POLL_S, STATE, Endpoint, forget, look, read_state, remember, settle
from runner.launch.local import end_stragglers, marked
from runner.project import Project
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import RECORD, fingerprint, latest, now, read_run, write_json
from runner.redact import mask_logs

CONFIG, SCRIPT, LOG, FOLDER = "rag.json", "serve.sh", SERVICE_LOG, SERVICE
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


def service_of(run: Path) -> Path:
    """Where its record and its state are; its processes carry this path as their mark, which is not the run's own: a
    run that is started again ends what an earlier one left."""
    return run / FOLDER


def start(run: Path, recipe: Recipe, spec: dict[str, Any], *, detached: bool) -> subprocess.Popen[bytes]:
    """serve.sh, which says in serve.log how it goes, and its program in `service/` whether it is ready."""
    folder = service_of(run)
    folder.mkdir(exist_ok=True)
    began = now()
    state = {"status": "starting", "url": url_of(spec), "model": recipe.name, "started": began, "replicas": []}
    write_json(folder / STATE, {**state, "ready_after_s": None, "error": None, "closing_s": CLOSING_S})
    record = {"recipe": recipe.name, "profile": recipe.profile, "kind": recipe.kind, "index": run.name}
    record |= {"run": FOLDER, "status": "running", "started": began}
    options = ["--host", str(spec["host"]), "--port", str(spec["replicas"][0]["port"])]
    process = tied.start(recipe, run, [SCRIPT, *options], run / LOG, folder, detached=detached)
    write_json(folder / RECORD, record | {"pid": process.pid})
    remember(folder)
    return process


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


def finish(run: Path, process: subprocess.Popen[bytes], *, asked: bool) -> Endpoint:
    """After it has ended: an embedded store gets the time to close, and what is left then is killed. What it came to,
    recorded: stopped where it was `asked` to, failed otherwise."""
    folder, code = service_of(run), process.wait()
    end = time.monotonic() + CLOSING_S
    while marked(folder) and time.monotonic() < end:
        time.sleep(POLL_S)
    end_stragglers(folder)
    mask_logs(run, os.environ)
    well = asked or code == 0
    error = None if well else tied.last_line(run / LOG) or "it wrote nothing"
    write_json(folder / STATE, read_state(folder) | {"status": "stopped" if well else "failed", "error": error})
    ended = look(folder)
    settle(ended)
    if well:
        forget(folder)
    return ended


def is_served(run: Path) -> bool:
    """Whether a service of this run is there already, however it was started."""
    found = look(service_of(run))
    return found.status not in OVER
