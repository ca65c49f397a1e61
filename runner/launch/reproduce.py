"""A recorded run -> the same run again, from its directory alone, in a new one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.engines.environment import OWN, Environment, environment
from runner.launch.follow import Progress
from runner.launch.local import Ended, launch
from runner.project import Project, cache_dir
from runner.provenance.contents import content_hash
from runner.provenance.lineage import sources
from runner.provenance.outputs import describe
from runner.provenance.snapshot import ENVIRONMENTS, FOLDER, places
from runner.provenance.verify import file_differences, source_differences
from runner.recipe.artifacts import Output
from runner.recipe.load import Refused
from runner.record import RECORD, Run, final_metrics, new_run_dir, now, write_files, write_json

# runs that were made again are kept apart from runs, below this folder of artifacts/
PLACE = ".reproduced"
# engines whose launch.sh starts runs of its own, which are reproduced one by one
MANY = "make"
# what a record says of how its own run went, and what lies beside that one alone
_ENDS = (
    "finished", "cards", "provenance", "outputs", "metrics", "measured", "scaling", "parts", "part", "attempts",
    "failure",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needed:
    """An environment that the run had, and the lock that it kept of it; None of the runner's own."""

    env: Environment
    lock: Path | None


def refuse_unrepeatable(project: Project, run: Run) -> None:
    """Raises Refused (R455) where the run's directory does not hold what it ran, R457 where it is none to repeat, and
    R458 to R460 where what it read is no longer what it was."""
    at = Span(str(run.path))
    if run.status != "finished":
        help = "`runner run` with its recipe goes on with it" if run.status in ("interrupted", "failed") else ""
        message = f"run `{run.id}` is {run.status}: there is no result to compare with"
        raise Refused(Diagnostic("R457", message, at, help=help))
    if run.record["engine"]["name"] == MANY:
        message = f"run `{run.id}` is a sweep, whose launch.sh starts a run for each child"
        raise Refused(Diagnostic("R457", message, at, help="reproduce its children, each by its own directory"))
    if not run.record.get("files"):
        message = "the record does not say which files ran: it was made by an earlier runner"
        raise Refused(Diagnostic("R455", message, at, help="run the recipe again; that run can be reproduced"))
    found = list(file_differences(run))
    for source in sources(run):
        found += source_differences(run, source)
    found += [d for each in run.record.get("inputs", []) for d in _input(project, run, each)]
    if found:
        raise Refused(*found)


def _input(project: Project, run: Run, each: dict[str, Any]) -> list[Diagnostic]:
    path = Path(_here(project, each["path"]))
    if path.exists() and content_hash(path) == each["sha256"]:
        return []
    word = "has changed since the run" if path.exists() else "is gone"
    return [Diagnostic("R460", f"`{each['path']}`, which run `{run.id}` read, {word}", Span(str(path)))]


def _here(project: Project, text: str) -> str:
    for name, folder in places(project).items():
        text = text.replace(f"${{{name}}}", folder)
    return text


def needed_environments(run: Run) -> list[Needed]:
    """Those that the run recorded, by hash. Raises Refused (R456) where one is not here and can't be built."""
    found = []
    for each in run.record["environments"]:
        name, folder = str(each["engine"]), str(each["folder"])
        if name == OWN:
            found.append(Needed(environment(OWN), None))
            continue
        path = cache_dir() / "envs" / folder
        env = Environment(name, folder.rpartition("-")[2], path, path / "bin" / "python")
        lock = run.path / FOLDER / ENVIRONMENTS / f"{folder}.txt"
        if not env.ready and not (lock.is_file() and environment(name, lock).path == path):
            raise Refused(
                Diagnostic(
                    "R456",
                    f"environment `{folder}` is not on this machine, and can't be built from the lock in the run",
                    Span(str(lock)),
                    notes=("its hash is of the lock and of the Python that runs it",),
                    help=f"use the Python that the run had ({_python(run)}), or copy the environment here",
                )
            )
        found.append(Needed(env, lock))
    return found


def _python(run: Run) -> str:
    return str(run.record["engine"].get("versions", {}).get("python", "?"))


def reproduce(project: Project, run: Run, needed: list[Needed], watch: Callable[[Progress], None]) -> tuple[Run, Ended]:
    """Copy the rendered files into a new directory, run them, and record what came of it."""
    path = new_run_dir(project, f"{PLACE}/{run.record['recipe']}", str(run.record["profile"]))
    write_files(path, {name: _moved(project, run, name) for name in run.record["files"]})
    record = run.record | {
        "run": path.name,
        "reproduces": os.path.relpath(run.path, path),
        "status": "running",
        "started": now(),
        "resumed": [],
        "upstream": [_seen_from(run, path, each) for each in run.record.get("upstream", [])],
    }
    for key in _ENDS:
        record.pop(key, None)
    write_json(path / RECORD, record)
    own, *others = (need.env for need in needed)
    ended = launch(
        path,
        watch,
        environment={
            "RUNNER_ENV": str(own.path),
            **{f"RUNNER_ENV_{env.engine.upper()}": str(env.path) for env in others},
            "RUNNER_PYTHON": sys.executable,
        },
    )
    outputs, missing = describe((Output(o["name"], o["type"], o["path"]) for o in run.record["outputs"]), path)
    whole = ended.code == 0 and not missing
    record |= {
        "status": "finished" if whole else "interrupted" if ended.interrupted else "failed",
        "finished": now(),
        "seconds": round(ended.seconds, 3),
        "exit_code": ended.code,
        "parts": ended.parts,
        "metrics": final_metrics(path),
        "outputs": outputs,
    }
    write_json(path / RECORD, record)
    return Run(path, record), ended


def _moved(project: Project, run: Run, name: str) -> str:
    """A rendered file, with this project's folders where it names those of the project that it was rendered in."""
    text = (run.path / name).read_text(encoding="utf-8")
    now_at = places(project)
    were = {key: folder for key, folder in run.record.get("places", {}).items() if folder != now_at.get(key)}
    for key, folder in were.items():
        text = text.replace(folder, f"\0{key}\0")
    for key in were:  # only now: a new folder may hold the old one's name
        text = text.replace(f"\0{key}\0", now_at[key])
    return text


def _seen_from(run: Run, path: Path, each: dict[str, Any]) -> dict[str, Any]:
    if not each.get("path"):
        return each
    return each | {"path": os.path.relpath(os.path.normpath(run.path / each["path"]), path)}
