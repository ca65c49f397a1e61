"""artifacts/ -> one line for each run there is, newest first; a cache keeps what was read, and is never believed.

10,000 records are 100 MB of JSON, of which a table wants 400 bytes each. So what was read is kept in a file of the
artifacts folder with each record's time and size, and a record is read again when either has changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from runner.project import Project
from runner.recipe.compose import PROFILES
from runner.record import RECORD

INDEX = ".runs.json"
# of the cache file: raised when what is kept of a run changes
INDEX_FORMAT = 1
_STAMP = re.compile(r"\d{8}-\d{6}(-\d+)?")
# artifacts/<up to four parts of a name>/<profile>, below that of a sweep one more
_DEEPEST = 7


@dataclass(frozen=True, slots=True)
class Summary:
    """What a table says of a run. `place` is its folder below artifacts/; `seconds` those of all its attempts;
    `ratios` measured over predicted, by the plan's dotted names, of figures that both have."""

    place: str
    recipe: str
    kind: str
    title: str
    profile: str
    status: str
    started: str
    seconds: float
    headline: str
    error: str
    box: str
    fingerprint: str
    ratios: dict[str, float]

    @property
    def run(self) -> str:
        return self.place.rpartition("/")[2]


def history(project: Project) -> list[Summary]:
    """Every run whose record can be read, newest first; probes and what lies hidden are left out."""
    index = project.artifacts / INDEX
    known = _read_index(index)
    kept: dict[str, list[Any]] = {}
    fresh = False
    for place, stat in _records(project.artifacts):
        entry = known.get(place)
        if entry is None or entry[0] != stat.st_mtime_ns or entry[1] != stat.st_size:
            found = _summary(place, project.artifacts / place / RECORD)
            entry = [stat.st_mtime_ns, stat.st_size, found]
            fresh = True
        kept[place] = entry
    if fresh or len(kept) != len(known):
        _write_index(index, kept)
    listed = [Summary(*entry[2]) for entry in kept.values() if entry[2] is not None]
    return sorted(listed, key=lambda s: (s.started, s.place), reverse=True)


def newest(summaries: list[Summary], status: str | None = "finished") -> dict[tuple[str, str], Summary]:
    """(recipe, profile) -> its newest run, with this status where one is asked for."""
    found: dict[tuple[str, str], Summary] = {}
    for each in summaries:
        if status is None or each.status == status:
            found.setdefault((each.recipe, each.profile), each)
    return found


def _records(artifacts: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(folder below artifacts, what the system says of its record)."""
    waiting = [("", 0)]
    while waiting:
        place, depth = waiting.pop()
        in_profile = place.rpartition("/")[2] in PROFILES
        try:
            with os.scandir(artifacts / place) as entries:
                names = [e.name for e in entries if e.name[0] != "." and e.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for name in names:
            below = f"{place}/{name}" if place else name
            if in_profile and _STAMP.fullmatch(name):
                with suppress(OSError):
                    yield below, os.stat(f"{artifacts}/{below}/{RECORD}")  # noqa: PTH116 - 10,000 Paths take 50 ms
            elif depth < _DEEPEST:
                waiting.append((below, depth + 1))


def _summary(place: str, file: Path) -> list[Any] | None:
    try:
        record = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return [*astuple(summarise(place, record))] if isinstance(record, dict) else None


def summarise(place: str, record: dict[str, Any]) -> Summary:
    """Of a record that may be of another version, or written by hand: what is missing is empty."""

    def text(key: str, default: str = "") -> str:
        value = record.get(key)
        return value if isinstance(value, str) else default

    recipe, profile = place.rsplit("/", 2)[:2] if place.count("/") > 1 else ("", "")
    seconds = record.get("seconds")
    return Summary(
        place=place,
        recipe=text("recipe", recipe),
        kind=text("kind"),
        title=text("title"),
        profile=text("profile", profile),
        status=text("status", "unknown"),
        started=text("started"),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        headline=_headline(record.get("metrics")),
        error=text("error"),
        box=text("box"),
        fingerprint=text("fingerprint"),
        ratios=ratios(record.get("predicted"), record.get("measured")),
    )


def _headline(metrics: Any) -> str:
    from runner.launch.outcome import headline  # much to import for who finds all in the cache

    try:
        said = headline(metrics) if isinstance(metrics, dict) and metrics else ""
    except (KeyError, TypeError, ValueError):
        return ""
    return "" if said == "no metrics" else said


def ratios(predicted: Any, measured: Any) -> dict[str, float]:
    """Measured over predicted, of the figures that both have and that are more than nothing."""
    from runner.launch.measured import SHOWN

    if not isinstance(predicted, dict) or not isinstance(measured, dict):
        return {}
    both = {name: (predicted.get(name), measured.get(name)) for name in SHOWN}
    return {
        name: round(float(got) / float(said), 4)
        for name, (said, got) in both.items()
        if isinstance(said, (int, float)) and isinstance(got, (int, float)) and said > 0 and got > 0
    }


def _read_index(file: Path) -> dict[str, list[Any]]:
    """Nothing where it is missing, torn, of another version, or not ours."""
    try:
        given = json.loads(file.read_bytes())
        if given["format"] != INDEX_FORMAT or given["fields"] != _names():
            return {}
        known: dict[str, list[Any]] = given["runs"]
        return known
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_index(file: Path, kept: dict[str, list[Any]]) -> None:
    """Rows without their keys, which halves it. A folder that can't be written to has none."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    with suppress(OSError):
        temporary.write_text(json.dumps({"format": INDEX_FORMAT, "fields": _names(), "runs": kept}))
        temporary.replace(file)


def _names() -> list[str]:
    return [field.name for field in fields(Summary)]
