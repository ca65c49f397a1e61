"""Runs of a project x a policy -> what may go, what stays and why; and the removal, which leaves no half of a run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.launch.endpoints import endpoints
from runner.launch.local import marked
from runner.launch.reproduce import PLACE as REPRODUCED
from runner.launch.supervise import PROBES
from runner.project import Project, lock_path
from runner.provenance.lineage import ancestors
from runner.provenance.lock import read_lock
from runner.recipe.compose import PROFILES
from runner.recipe.load import Refused
from runner.record import LATEST, Run, read_run

# a file in a run's directory: whoever wrote it wants the run to stay
PIN = "keep"
# what is on its way out: moved there in one step, then deleted at leisure
TRASH = ".trash"
_CHECKPOINT = re.compile(r"checkpoint-\d+|global_step\d+")
# other folders below artifacts/ that hold runs
_PLACES = (REPRODUCED, PROBES)
# a run that says it runs, and has neither a lock nor a process here, may run on another machine
QUIET = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Policy:
    """`keep` finished runs of each recipe and profile, the newest; only what is older than `older`; `failed` ones too;
    `checkpoints` alone of runs that stay."""

    keep: int
    older: timedelta | None = None
    failed: bool = False
    checkpoints: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A run, or the checkpoints of one (`part`). `remove` says what becomes of it, `why` says why."""

    run: Run
    remove: bool
    why: str
    bytes: int = 0
    part: tuple[Path, ...] = ()


def all_runs(project: Project) -> list[Run]:
    """Every recorded run below artifacts/, by place, oldest first; a run's own folders are not searched."""
    waiting, found = [project.artifacts], []
    while waiting:
        folder = waiting.pop()
        for entry in os.scandir(folder) if folder.is_dir() else ():
            if entry.is_symlink() or not entry.is_dir():
                continue
            if entry.name.startswith(".") and entry.name not in _PLACES:
                continue
            run = read_run(Path(entry.path))
            if run is not None:
                found.append(run)
            elif not (Path(entry.path) / "launch.sh").exists():
                waiting.append(Path(entry.path))
    return sorted(found, key=lambda run: run.path)


def plan_gc(project: Project, policy: Policy, now: datetime | None = None) -> list[Item]:
    """What `collect` would do with each run, and why."""
    now = now or datetime.now(timezone.utc)
    runs = all_runs(project)
    beside: dict[Path, list[Run]] = {}
    for run in runs:
        beside.setdefault(run.path.parent, []).append(run)
    wanted = {run.path: _unwanted(run, beside[run.path.parent], policy, now) for run in runs}
    held = {run.path: why for run in runs if (why := _held(run, beside[run.path.parent], now))}
    held |= {path: why for path, why in _served(runs).items() if path not in held}
    held |= {path: why for path, why in _locked(project, runs).items() if path not in held}
    kept = [run for run in runs if run.path in held or not wanted[run.path]]
    for run in kept:
        for _, source in ancestors(run):
            if source.path is not None:
                held.setdefault(source.path.resolve(), f"`{run.record.get('recipe')}` run {run.id} stands on it")
    items = [_item(run, wanted[run.path], held.get(run.path)) for run in runs]
    if policy.checkpoints:
        items += [c for item in items if not item.remove and (c := _checkpoints(item.run, held)) is not None]
    return [replace(i, bytes=sum(map(size_of, i.part or (i.run.path,)))) for i in items]


def _item(run: Run, unwanted: str, held: str | None) -> Item:
    if not unwanted:
        return Item(run, False, held or "the policy keeps it")
    return Item(run, held is None, held or unwanted)


def _unwanted(run: Run, beside: list[Run], policy: Policy, now: datetime) -> str:
    """Why the policy has no use for a run; empty where it keeps it."""
    age = now - started(run)
    if policy.older is not None and age < policy.older:
        return ""
    if run.status != "finished":
        return f"it is {run.status}" if policy.failed and run.status != "unknown" else ""
    newer = sum(1 for r in beside if r.status == "finished" and r.path.name > run.path.name)
    return f"{newer} newer of its recipe are there" if newer >= policy.keep else ""


def started(run: Run) -> datetime:
    try:
        return datetime.fromisoformat(str(run.record.get("started")))
    except ValueError:
        return datetime.fromtimestamp(run.path.stat().st_mtime, timezone.utc)


def _held(run: Run, beside: list[Run], now: datetime) -> str:
    """Why a run must stay whatever the policy says; empty where nothing holds it. `beside` are the runs of its recipe
    and profile, oldest first."""
    if (run.path / PIN).exists():
        return "pinned"
    link = run.path.parent / LATEST
    if link.is_symlink() and link.readlink().name == run.path.name:
        return "the newest, which others start from"
    if run.status == "running":
        if marked(run.path) or not _free(run.path.parent):
            return "it runs"
        return "it says that it runs" if now - started(run) < QUIET else ""
    if run.status == "interrupted" and run is beside[-1]:
        return "the next run of its recipe goes on from it"
    return ""


def _free(folder: Path) -> bool:
    """Whether nobody runs in it: runs hold its lock."""
    try:
        with _locked_folder(folder) as mine:
            return mine
    except OSError:
        return False


@contextmanager
def _locked_folder(folder: Path) -> Iterator[bool]:
    """The lock that runs of a recipe hold, if it is free. What its file says of who had it is left as it is."""
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)


def _served(runs: list[Run]) -> dict[Path, str]:
    """Endpoints that are up, which `kept` then follows to what they serve."""
    alive = {e.run.resolve(): e for e in endpoints() if e.alive}
    return {run.path: "it is served" for run in runs if run.path.resolve() in alive}


def _locked(project: Project, runs: list[Run]) -> dict[Path, str]:
    """Runs that a recipe's lock names as what it stands on."""
    named: dict[str, str] = {}
    for file in project.all_recipes():
        if not lock_path(file).is_file():
            continue
        try:
            lock = read_lock(file)
        except Refused:
            continue
        for profile in PROFILES:
            node = lock.find((profile, "upstream")) if lock is not None else None
            listed: dict[str, Any] = node.plain() if node is not None and isinstance(node.value, dict) else {}
            named |= {str(up["identity"]): project.recipe_name(file) for up in listed.values() if up.get("identity")}
    return {r.path: f"the lock of `{named[i]}` names it" for r in runs if (i := str(r.record.get("identity"))) in named}


def _checkpoints(run: Run, held: dict[Path, str]) -> Item | None:
    """Those below the outputs of a finished run: its result does not need them."""
    if run.status != "finished" or held.get(run.path) in ("pinned", "it is served"):
        return None
    folders = {run.path / str(o["path"]) for o in run.record.get("outputs", [])} | {run.path / "output"}
    below = {p for folder in folders if folder.is_dir() for p in folder.iterdir()}
    found = sorted(p for p in below if p.is_dir() and _CHECKPOINT.fullmatch(p.name))
    return Item(run, True, "the run is finished", part=tuple(found)) if found else None


def size_of(path: Path) -> int:
    """Bytes on the disk of all files below; links are not followed."""
    total = 0
    for root, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(root, file)).st_blocks for file in files) * 512  # noqa: PTH118 - many files
    return total


def collect(project: Project, items: Iterable[Item]) -> Iterator[Item]:
    """Remove what is to go, and yield each when it has gone. A run that has begun meanwhile is left alone.

    Each is moved into `.trash` in one step first: killed in the middle, this leaves whole runs, and rubbish that the
    next call ends. Raises Refused (R462) where the disk does not let it.
    """
    trash = project.artifacts / TRASH
    try:
        empty(project)
        trash.mkdir(parents=True, exist_ok=True)
        for item in items:
            if item.remove and _move(item, trash):
                empty(project)
                yield item
        trash.rmdir()
    except OSError as error:
        raise Refused(
            Diagnostic(
                "R462",
                f"can't remove from the artifacts folder: {error.strerror or error}",
                Span(str(error.filename or trash)),
                help="check its permissions; what was not removed is whole",
            )
        ) from error


def _move(item: Item, trash: Path) -> bool:
    with _locked_folder(item.run.path.parent) as mine:
        for path in (item.part or (item.run.path,)) if mine else ():
            os.replace(path, trash / f"{path.parent.name}.{path.name}.{os.getpid()}")  # noqa: PTH105 - one step
        return mine


def empty(project: Project) -> None:
    """Delete what an earlier call, perhaps a killed one, has moved out."""
    trash = project.artifacts / TRASH
    for path in trash.iterdir() if trash.is_dir() else ():
        shutil.rmtree(path)
