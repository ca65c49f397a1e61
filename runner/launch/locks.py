"""Locks of this machine that say who holds them: one for a recipe's runs, one for each GPU.

The kernel lets a flock go when the last process that has it open is gone, however that ended; so a lock of a dead
process is no lock, and what its file still says is only history.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.gpus import gpu_uuids
from runner.project import cache_dir
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import now

POLL_S = 0.5
# told whom we wait for, and for how many seconds so far
Waiting = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a lock: a process of a host, for which recipe, since when (UTC)."""

    pid: int
    host: str
    recipe: str
    since: str

    def __str__(self) -> str:
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        return f"process {self.pid}{where}, which has run `{self.recipe}` since {self.since}"


def us(recipe: str) -> Holder:
    return Holder(os.getpid(), socket.gethostname(), recipe, now())


def read_holder(file: Path) -> Holder | None:
    """What the file says of the last one that took the lock; None where it says nothing that can be read."""
    try:
        return Holder(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def held(file: Path, holder: Holder, refusal: Callable[[str], Refused], waiting: Waiting | None) -> Iterator[int]:
    """Holds the lock, and yields its open file, for a child to inherit, which keeps the lock for as long as it lives.

    Waits while `waiting` is told whom for; without it, raises what `refusal` makes of the holder. OSError where the
    file can't be made.
    """
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    began = time.monotonic()
    try:
        while not _taken(lock):
            told = read_holder(file)
            who = str(told) if told is not None else "another process"
            if waiting is None:
                raise refusal(who)
            waiting(who, time.monotonic() - began)
            time.sleep(POLL_S)
        _say(lock, holder)
        yield lock
    finally:
        os.close(lock)


def _say(lock: int, holder: Holder) -> None:
    with suppress(OSError):  # a full disk takes the word, not the lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(asdict(holder)).encode(), 0)


def hand_over(locks: list[int], recipe: str, pid: int) -> None:
    """Have locks that a child has inherited say that it holds them."""
    for lock in locks:
        _say(lock, replace(us(recipe), pid=pid))


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def recipe_lock(folder: Path, recipe: Recipe, waiting: Waiting | None) -> Iterator[None]:
    """One run of a recipe and profile at a time. Raises Refused (R411)."""

    def refusal(who: str) -> Refused:
        return Refused(
            Diagnostic(
                "R411",
                f"another run of `{recipe.name}` ({recipe.profile}) is going on",
                Span(str(folder)),
                notes=(f"held by {who}",),
                help="wait for it with `--wait`, or end it",
            )
        )

    with held(folder / ".lock", us(recipe.name), refusal, waiting):
        yield


@contextmanager
def gpu_locks(recipe: Recipe, waiting: Waiting | None) -> Iterator[list[int]]:
    """The GPUs that a run will use, for itself alone on this machine, whichever project and clone it is of; yields the
    open files, which launch.sh is to inherit: what outlives us keeps its GPUs. Raises Refused (R414).

    In order of their names, so that no two wait for each other. A sweep uses none itself: its children do.
    """
    folder = cache_dir() / "locks"
    count = 0 if recipe.children else recipe.box.gpus
    names = gpus_of(count, os.environ.get("CUDA_VISIBLE_DEVICES"), gpu_uuids() if count else [])
    with ExitStack() as stack:
        files = []
        for name in names:
            folder.mkdir(parents=True, exist_ok=True)

            def refusal(who: str, name: str = name) -> Refused:
                return Refused(
                    Diagnostic(
                        "R414",
                        f"GPU {name} is in use by another run",
                        Span(str(folder / f"gpu-{name}.lock")),
                        notes=(f"held by {who}",),
                        help="wait for it with `--wait`, or name other GPUs in CUDA_VISIBLE_DEVICES",
                    )
                )

            files.append(stack.enter_context(held(folder / f"gpu-{name}.lock", us(recipe.name), refusal, waiting)))
        yield files


def gpus_of(count: int, visible: str | None, uuids: list[str]) -> list[str]:
    """Names of the first `count` GPUs that CUDA_VISIBLE_DEVICES leaves. By their UUIDs where nvidia-smi tells them: a
    number means another GPU in each job of a scheduler that shows jobs only their own."""
    given = [str(n) for n in range(count)] if visible is None else [name.strip() for name in visible.split(",")]
    names = [name for name in given if name and not name.startswith("-")][:count]
    return sorted({_uuid(name, uuids).replace("/", "-") for name in names})


def _uuid(name: str, uuids: list[str]) -> str:
    if name.isdigit():
        return uuids[int(name)] if int(name) < len(uuids) else name
    return next((uuid for uuid in uuids if uuid.startswith(name)), name)  # CUDA takes the beginning of one, too
