"""Tasks of lm-eval that lie in files of the user's: their names, and what they ask of a model."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from runner.recipe.lm_eval_tasks import Task, known_tasks

# a recipe may name any folder, and files that include each other in a circle
MOST_MET, MOST_BYTES, MOST_DEEP = 5_000, 1 << 20, 8
# such a file may hold `!function`, which no plain reader of YAML takes; the few keys that matter stand at its margin
_KEY = re.compile(r"^(?P<key>task|group|tag|output_type|unsafe_code|include)\s*:\s*(?P<value>\S.*?)?\s*(?:#.*)?$")


def find_task(name: str, folder: Path | None) -> Task | None:
    """A task of lm-eval's, of `folder`, or in the file `name`; None where there is none."""
    if name.endswith((".yaml", ".yml")):
        return _read(Path(name))[1] if Path(name).is_file() else None
    if folder is not None and name in (local := tasks_in(folder)):
        return local[name]
    return known_tasks().get(name)


def runs_code(name: str, folder: Path | None) -> bool:
    task = find_task(name, folder)
    return task is not None and task.unsafe


@cache
def tasks_in(folder: Path) -> dict[str, Task]:
    """Tasks, groups and tags of a folder of task files, and of those below it."""
    found: dict[str, Task] = {}
    for file in task_files(folder):
        names, task = _read(file)
        for name in names:
            old = found.get(name)
            found[name] = task if old is None else Task(old.asks | task.asks, old.unsafe or task.unsafe)
    return found


@cache
def task_files(folder: Path) -> tuple[Path, ...]:
    """Of a folder and those below it, by name; of one that holds far more than tasks, such as `/`, those met first."""
    found: list[Path] = []
    met = 0
    for here, folders, files in os.walk(folder):
        folders.sort()
        found += [Path(here, name) for name in sorted(files) if name.endswith((".yaml", ".yml"))]
        met += len(folders) + len(files)
        if met > MOST_MET:
            break
    return tuple(sorted(found))


def text_of(file: Path) -> str:
    """Empty where there is none to be read: a device, a link that leads nowhere, what nobody writes by hand."""
    try:
        return file.read_text(errors="replace") if file.is_file() and file.stat().st_size <= MOST_BYTES else ""
    except OSError:
        return ""


def _read(file: Path, deep: int = 0) -> tuple[list[str], Task]:
    keys: dict[str, str] = {}
    for line in text_of(file).splitlines():
        if match := _KEY.match(line):
            keys.setdefault(match["key"], (match["value"] or "").strip("\"'"))
    below = Task(frozenset({"generate_until"}), False)
    if (named := keys.get("include")) and deep < MOST_DEEP:
        below = _read(file.parent / named, deep + 1)[1]
    asks = frozenset({keys["output_type"]}) if keys.get("output_type") else below.asks
    unsafe = keys["unsafe_code"].lower() == "true" if "unsafe_code" in keys else below.unsafe
    return [keys[key] for key in ("task", "group", "tag") if keys.get(key)], Task(asks, unsafe)
