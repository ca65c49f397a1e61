"""Run directories: where they are, what identifies them, and run.json, which says what happened in them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from runner import __version__
from runner.metrics import gone_through
from runner.project import Project
from runner.recipe.local_paths import local_paths
from runner.recipe.resolve import Recipe

RECORD = "run.json"
LOG = "log.txt"
METRICS = "metrics.jsonl"
LATEST = "latest"
DONE = "done"
# beside run.json, should that be lost
FINGERPRINT = ".fingerprint"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Run:
    """One execution: a directory `artifacts/<recipe>/<profile>/<id>` and what its run.json says."""

    path: Path
    record: dict[str, Any]

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def status(self) -> str:
        return str(self.record.get("status", "unknown"))

    @property
    def fingerprint(self) -> str:
        return str(self.record.get("fingerprint", ""))


_STAMP = re.compile(r"\d{8}-\d{6}")


def profile_dir(project: Project, recipe: str, profile: str) -> Path:
    return project.artifacts / recipe / profile


def read_run(path: Path) -> Run | None:
    """None where there is no readable record."""
    try:
        record = json.loads((path / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return Run(path, record) if isinstance(record, dict) else None


def runs(project: Project, recipe: str, profile: str) -> list[Run]:
    """Every recorded run, newest first."""
    return [run for run in map(read_run, _run_dirs(profile_dir(project, recipe, profile))) if run is not None]


def _run_dirs(folder: Path) -> list[Path]:
    """Newest first."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()), key=_age, reverse=True)


def _age(run: Path) -> tuple[str, int, str]:
    """`20251124-101500-10` is newer than `20251124-101500-2`."""
    stamp, n = run.name[:15], run.name[16:]
    return stamp, int(n) if n.isdigit() else 0, n


def newest_run(project: Project, recipe: str, profile: str) -> Run | None:
    """The newest, even where its run.json is lost or broken: what it was made from then stands beside that."""
    for path in _run_dirs(profile_dir(project, recipe, profile)):
        if (run := read_run(path)) is not None:
            return run
        with suppress(OSError):
            return Run(path, {"status": "lost", "fingerprint": (path / FINGERPRINT).read_text().strip()})
    return None


def write_fingerprint(run: Path, digest: str) -> None:
    (run / FINGERPRINT).write_text(digest + "\n")


def latest(project: Project, recipe: str, profile: str) -> Path | None:
    """Directory of the newest finished run; None where there is none. Of the recipe as it is written: with `--set` no
    run becomes `latest`, and none stands in for a link that is lost."""
    link = profile_dir(project, recipe, profile) / LATEST
    if link.is_symlink():
        target = link.resolve()
        run = read_run(target)
        return target if run is not None and run.status == "finished" else None
    known = (run for run in runs(project, recipe, profile) if run.status == "finished" and run.record.get("as_written"))
    return next((run.path for run in known), None)


def new_run_dir(project: Project, recipe: str, profile: str) -> Path:
    """A fresh directory named by UTC time, so that names sort by age; by that of the newest one where the clock was set
    back since."""
    folder = profile_dir(project, recipe, profile)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    stamp = max([stamp, *(path.name[:15] for path in _run_dirs(folder)[:1] if _STAMP.match(path.name))])
    for n in range(1000):
        path = folder / (stamp if n == 0 else f"{stamp}-{n}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(folder / stamp)


def fingerprint(recipe: Recipe, files: dict[str, str]) -> str:
    """What a run's result depends on: every rendered byte, and the local data and models that it reads.

    The rendered files name the upstream runs and the engine environment (by its lock's hash), so a change in either
    changes this too. Our own version stands in their comments, and an upgrade that renders the same is no reason to
    train again.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        text = files[name].replace(f"runner {__version__}", "runner")
        digest.update(f"{name}\0{len(text)}\0".encode())
        digest.update(text.encode())
    for path in local_inputs(recipe):
        digest.update(f"{path.name}\0{_identity(path)}\0".encode())
    return digest.hexdigest()


def local_inputs(recipe: Recipe) -> list[Path]:
    """Local files and folders that the recipe reads, less what runs left in artifacts/, which is named by its run."""
    named = recipe.values if recipe.prepared is None else {**recipe.values, "prepared": recipe.prepared}
    return [p for p in local_paths(named) if "artifacts" not in p.parts]


def _identity(path: Path) -> str:
    """A file by its content; a folder, which may hold a model of many GiB, by its files' names, sizes and times."""
    if path.is_file():
        return file_hash(path)
    listed = []
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        stat = file.stat()
        listed.append(f"{file.relative_to(path)}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(listed).encode("utf-8", "surrogateescape")).hexdigest()


def file_hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_files(folder: Path, files: dict[str, str]) -> None:
    """What `render` gave, below `folder`; scripts may be executed."""
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.is_file() and target.read_bytes() == text.encode()):  # bash reads a script as it runs it
            target.write_text(text, encoding="utf-8")
        if name.endswith(".sh"):
            target.chmod(0o755)


def write_json(file: Path, value: Any) -> None:
    """Whole or not at all: a reader never sees half a record."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as out:
            json.dump(_finite(value), out, indent=1, ensure_ascii=False, allow_nan=False)
            out.write("\n")
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)  # of a full disk, which needs the room
        raise


def _finite(value: Any) -> Any:
    """JSON has no number for the loss of a run that diverged: it is written as text, `"nan"`."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(below) for key, below in value.items()}
    return [_finite(below) for below in value] if isinstance(value, (list, tuple)) else value


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def point_latest(run: Path) -> None:
    """Make `latest` name this run, in one step."""
    link = run.parent / LATEST
    temporary = run.parent / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run.name)
    temporary.replace(link)


def mark_done(project: Project, recipe: str, profile: str) -> None:
    """Touch the file that stands for this recipe in make's graph."""
    (profile_dir(project, recipe, profile) / DONE).write_text(now() + "\n")


def read_metrics(run: Path, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Reports in metrics.jsonl from byte `start` on, and where to go on. A last line still being written is left."""
    file = run / METRICS
    try:
        with file.open("rb") as stream:
            # shorter than it was: somebody has put another in its place
            start = start if start <= stream.seek(0, 2) else 0
            stream.seek(start)
            block = stream.read()
    except OSError:
        return [], start
    whole = block.rfind(b"\n") + 1
    rows = []
    for line in block[:whole].splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows, start + whole


def final_metrics(run: Path) -> dict[str, Any]:
    """The last value of each metric, and the first of those that a reader wants to have seen move."""
    rows = gone_through(read_metrics(run)[0])
    last: dict[str, Any] = {}
    for row in rows:
        for key, value in row.items():
            if key not in ("time", "event"):
                last[key] = value
    for key in ("loss", "rewards/margins", "reward"):
        values = [row[key] for row in rows if key in row]
        if values:
            last[f"first_{key}"], last[key] = values[0], values[-1]
    return last
