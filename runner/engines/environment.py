"""Engine environments: one virtual environment per lock and Python, built once, shared by every clone of a user."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.engines import locks
from runner.engines.install import GB, Install, Progress
from runner.engines.locks import Lock, locked_engines
from runner.engines.site import Site
from runner.project import cache_dir
from runner.recipe.load import Refused

__all__ = [
    "Environment",
    "Kept",
    "Progress",
    "ensure",
    "environment",
    "environments",
    "lock_file",
    "locked_engines",
    "remove",
]

READY = "READY.json"
# of engines that need nothing but the runner: a sweep, which make and further runs carry out
OWN = "runner"
# beyond the environment itself: pip unpacks each package once more on its way
HEADROOM_GB = 1.0
_NAME = re.compile(r"([a-z][a-z0-9-]*)-([0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the environment of an engine's current lock is, or will be."""

    engine: str
    key: str
    path: Path
    python: Path

    @property
    def ready(self) -> bool:
        """Whole, and its Python still there (a system's update can take it away)."""
        if self.engine == OWN:
            return True
        return (self.path / READY).is_file() and os.access(self.python, os.X_OK)

    def record(self) -> dict[str, Any]:
        """What was written when it was finished; empty before. The runner's own has none."""
        return _record(self.path)

    def versions(self) -> dict[str, str]:
        """Versions that a run's record names, Python's among them; empty before it is built."""
        found = self.record().get("versions", {})
        return dict(found) if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Kept:
    """A folder in the cache. `current`: an engine's lock still asks for it. `bytes` is less while unfinished."""

    engine: str
    path: Path
    ready: bool
    current: bool
    bytes: int
    built: str
    holder: str


def lock_file(engine: str) -> Path:
    """Of every engine but OWN, which was there before any of them."""
    return locks.FOLDER / f"{engine}.txt"


def environment(engine: str, kept: Path | None = None) -> Environment:
    """Looks nowhere but into the lock, or one that a run `kept`; OWN is the one that the runner runs in.

    Raises FileNotFoundError where the engine has none.
    """
    if engine == OWN:
        return Environment(OWN, "", Path(sys.prefix), Path(sys.executable))
    key = _key(locks.read(kept or lock_file(engine)), _running())
    path = _envs() / f"{engine}-{key}"
    return Environment(engine, key, path, path / "bin" / "python")


def ensure(env: Environment, report: Callable[[Progress], None], kept: Path | None = None) -> None:
    """Build what is not ready, going on where an earlier attempt stopped. Waits while another process builds it. From
    the engine's lock, or one that a run `kept`.

    Raises Refused: R301 pip failed, R302 too little disk, R303 this Python won't do, R304 the cache can't be written.
    """
    if env.ready:
        return
    lock = locks.read(kept or lock_file(env.engine))
    _refuse_python(env, lock)
    try:
        env.path.parent.mkdir(parents=True, exist_ok=True)
        with _held(env.path, report) as held:
            if env.ready:
                return
            _refuse_disk(env, lock)
            (env.path / READY).unlink(missing_ok=True)
            began = time.monotonic()
            install = Install(env.engine, env.path, lock, _log(env.path), held, report)
            build = install.run()
            _finish(env, lock, build, install.site, time.monotonic() - began)
    except OSError as error:
        raise Refused(
            Diagnostic(
                "R304",
                f"can't write the cache: {error.strerror or error}",
                Span(str(error.filename or env.path)),
                help="check its permissions and free space, or set RUNNER_CACHE to another folder",
            )
        ) from error


def environments() -> list[Kept]:
    """Everything in the cache, finished or not."""
    current = {environment(e).path for e in locked_engines()}
    found = []
    for path in sorted(_envs().glob("*-*")):
        name = _NAME.fullmatch(path.name)
        if name is None or not path.is_dir() or path.is_symlink():
            continue
        record = _record(path)
        ready = bool(record) and os.access(path / "bin" / "python", os.X_OK)
        # one made by another Python is not stale for that: it serves whoever runs that one
        python = str(record.get("python", _running()))
        mine = path in current or (name[1] in locked_engines() and _key(_lock(name[1]), python) == name[2])
        size = int(record.get("bytes", 0)) or _recorded(path)
        found.append(Kept(name[1], path, ready, mine, size, str(record.get("built", "")), _holder(path)))
    return found


def remove(kept: Kept) -> None:
    """Delete one environment. Raises Refused (R305) while a process builds it."""
    with _held(kept.path, None):
        # first, so that a removal cut short leaves something that is seen to be unfinished
        (kept.path / READY).unlink(missing_ok=True)
        shutil.rmtree(kept.path)
        _log(kept.path).unlink(missing_ok=True)


def _envs() -> Path:
    return cache_dir() / "envs"


def _log(path: Path) -> Path:
    return path.with_name(path.name + ".log")


def _lock(engine: str) -> Lock:
    return locks.read(lock_file(engine))


def _running() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _key(lock: Lock, python: str) -> str:
    return hashlib.sha256(f"{lock.digest()} {python}".encode()).hexdigest()[:12]


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / READY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _recorded(path: Path) -> int:
    sites = (Site(p) for p in path.glob("lib/python*/site-packages"))
    return sum(site.bytes() for site in sites if site.whole())


def _refuse_python(env: Environment, lock: Lock) -> None:
    fit = lock.fact("python")
    if fit and _running() not in fit:
        listed = " or ".join(fit)
        raise Refused(
            Diagnostic(
                "R303",
                f"the `{env.engine}` environment can't be built with Python {_running()}",
                Span(f"<{env.engine} environment>"),
                notes=(f"its lock holds packages published for Python {listed}",),
                help=f"run the runner with Python {listed}",
            )
        )


def _refuse_disk(env: Environment, lock: Lock) -> None:
    # which build of torch comes is up to the package index; a GPU machine is one where it will be the large one
    expected = lock.size_gb("cuda" if shutil.which("nvidia-smi") else "cpu")
    needed = max(0.0, expected - _recorded(env.path) / GB) + HEADROOM_GB
    free = shutil.disk_usage(env.path.parent).free / GB
    if free < needed:
        raise Refused(
            Diagnostic(
                "R302",
                f"the `{env.engine}` environment needs {needed:.1f} GB of disk, {free:.1f} GB are free",
                Span(str(env.path.parent)),
                help="free some space (`runner env remove --stale`), or set RUNNER_CACHE to a folder on another disk",
            )
        )


@contextmanager
def _held(path: Path, report: Callable[[Progress], None] | None) -> Iterator[int]:
    """Holds the environment's lock, and yields its open file. Waits for it, or where there is no `report` refuses.

    flock and no library: a child that inherits the open file keeps the lock for as long as it lives.
    """
    held = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    began = time.monotonic()
    told = -1.0
    try:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                who = os.pread(held, 200, 0).decode("utf-8", "replace") or "another process"
            if report is None:
                raise Refused(
                    Diagnostic("R305", f"{who} is building it", Span(str(path)), help="wait for it, or end it")
                )
            waited = time.monotonic() - began
            if waited - told >= 1:
                told = waited
                report(Progress(f"waiting for {who}, which is building it", seconds=waited))
            time.sleep(0.2)
        os.ftruncate(held, 0)
        os.pwrite(held, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield held
    finally:
        os.close(held)


def _holder(path: Path) -> str:
    """Who is building it at the moment; empty when nobody is."""
    try:
        with path.with_name(path.name + ".lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read(200)
    except OSError:
        pass
    return ""


def _finish(env: Environment, lock: Lock, build: str, site: Site, seconds: float) -> None:
    """Write READY.json, last and at once: what it says is what makes the environment usable."""
    there = site.whole()
    shown = {p: there[p] for p in map(locks.normal, lock.fact("shows")) if p in there}
    record = {
        "engine": env.engine,
        "key": env.key,
        "python": _running(),
        "torch_build": build,
        "versions": {"python": ".".join(map(str, sys.version_info[:3])), **shown},
        "packages": dict(sorted(there.items())),
        "seconds": round(seconds, 1),
        "bytes": _bytes(env.path),
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    draft = env.path / (READY + ".tmp")
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draft.replace(env.path / READY)


def _bytes(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        total += sum(os.lstat(os.path.join(root, file)).st_blocks for file in files) * 512  # noqa: PTH118 - 60,000 files
    return total
