"""A run's directory -> the account of how it ended: what happened, the likely cause, the knob, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.failures import Failure, by_name
from runner.launch.ended import Told, attempt, evidence, told
from runner.launch.endpoints import look
from runner.launch.local import marked
from runner.launch.losses import WentWrong, went_wrong
from runner.project import Project
from runner.recipe.kinds import kind_names, serves
from runner.record import LOG, Run, read_metrics, read_run, runs
from runner.report.log_lines import Line, excerpt_of, last_line_with
from runner.report.why_plan import Short, short_of

# a sweep's directory has it, whose children are runs of their own
POINTS = "points.json"


@dataclass(frozen=True, slots=True)
class Account:
    """`status` is the record's, or `killed` where it says that it runs and nothing of it does. `failure` is None of
    one that did not fail, and of one that failed in a way that we don't know; `said` is the engine's last error.
    `excerpt` are lines of `log` around the one that tells, `line` (from 1 on). `children` are those of a sweep that
    did not finish. `go_on` is what to type next, once the cause is mended."""

    run: Run
    status: str
    failure: Failure | None
    said: str
    log: Path
    line: int | None
    excerpt: tuple[Line, ...]
    loss: WentWrong | None
    short: Short | None
    children: tuple[Account, ...]
    go_on: str

    @property
    def recipe(self) -> str:
        return str(self.run.record.get("recipe", ""))

    @property
    def profile(self) -> str:
        return str(self.run.record.get("profile", "full"))

    @property
    def failed(self) -> bool:
        return self.status in ("failed", "killed")


def account_of(project: Project, run: Run) -> Account:
    status, said = _status(run)
    over = status in ("failed", "killed")
    found = _told(run) if over else None
    log = found.log if found is not None else run.path / LOG
    said = said or str(run.record.get("error") or "")
    line = found.line if found is not None else last_line_with(log, said) if over else None
    plan = found.failure.plan if found is not None else ""
    return Account(
        run=run,
        status=status,
        failure=found.failure if found is not None else None,
        said=said,
        log=log,
        line=line,
        excerpt=excerpt_of(log, line) if over else (),
        loss=went_wrong(read_metrics(run.path)[0]),
        short=short_of(project, run, plan) if plan else None,
        children=tuple(_children(project, run)) if status != "finished" else (),
        go_on=_go_on(project, run),
    )


def _status(run: Run) -> tuple[str, str]:
    """And what an endpoint says of its own end."""
    if run.record.get("kind") in kind_names() and serves(str(run.record["kind"])):
        endpoint = look(run.path)
        status = "running" if endpoint.alive else "killed" if endpoint.status == "died" else endpoint.status
        return status, endpoint.error
    if run.status == "running" and not marked(run.path):
        return "killed", ""
    return run.status, ""


def _told(run: Run) -> Told | None:
    """As the record has it, where that still stands in the log; else read again."""
    known: dict[str, Any] = run.record.get("failure") or {}
    failure = by_name(str(known.get("name")))
    if failure is not None:
        log, line = run.path / Path(str(known.get("log", LOG))).name, known.get("line")
        if line is None or any(pattern.search(_line_of(log, line)) for pattern in failure.patterns):
            return Told(failure, log, line)
    code = run.record.get("exit_code")
    text, _ = attempt(run.path / LOG)
    return told(run.path, code, evidence(run.path, code, text, None))


def _line_of(log: Path, number: int) -> str:
    try:
        with log.open(errors="replace", newline="\n") as stream:  # what a progress bar wrote over is one line
            return next((line for n, line in enumerate(stream, 1) if n == number), "")
    except OSError:
        return ""


def _children(project: Project, run: Run) -> Iterator[Account]:
    """The newest run of each child that did not finish, without its plan."""
    if not (run.path / POINTS).is_file():
        return
    profile = str(run.record.get("profile"))
    folder = project.artifacts / str(run.record.get("recipe"))
    for below in sorted(folder.glob(f"*/{profile}")):
        newest = next(iter(runs(project, str(below.parent.relative_to(project.artifacts)), profile)), None)
        if newest is not None and newest.status != "finished":
            yield replace(account_of(project, newest), short=None)


def _go_on(project: Project, run: Run) -> str:
    """A run of the unchanged recipe goes on from its newest checkpoint; a sweep with its unfinished children."""
    name, profile, kind = (str(run.record.get(key, "")) for key in ("recipe", "profile", "kind"))
    word = f" PROFILE={profile}" if profile != "full" else ""
    if kind in kind_names() and serves(kind):
        return f"make serve MODEL={name.removeprefix('serve/')}{word}"
    parent = name.rpartition("/")[0]
    if not project.recipe_file(name).is_file() and project.recipe_file(parent).is_file():
        name = parent  # of a sweep, whose children have no file
    if run.record.get("as_written") is False:
        return f"runner run {name}{f' --profile {profile}' if word else ''} --set ... (as it was run)"
    return f"make recipe R={name}{word}"


# --- which run is meant ---


def newest_failed(project: Project, profile: str | None = None) -> Run | None:
    """Of all recipes, the one that was started last among those that failed or were interrupted."""
    for folder in sorted(_run_folders(project.artifacts), key=lambda f: f.name, reverse=True):
        if profile is not None and folder.parent.name != profile:
            continue
        run = read_run(folder)
        if run is not None and (run.status in ("failed", "interrupted") or _status(run)[0] == "killed"):
            return run
    return None


def newest_of(project: Project, recipe: str, profile: str | None = None) -> Run | None:
    """The newest run of a recipe, in a profile or in any."""
    profiles = [profile] if profile is not None else ["full", "smoke"]
    found = [run for each in profiles for run in runs(project, recipe, each)[:1]]
    return max(found, key=lambda run: run.id, default=None)


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders that are named by a time; what a run left below its own is not looked into."""
    try:
        below = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return
    for entry in below:
        if entry.name[:8].isdigit() and entry.name[8:9] == "-":
            yield entry
        elif not entry.name.startswith("."):
            yield from _run_folders(entry)
