"""A recipe's datasets -> those whose files lie on this machine, with their first rows. No rules of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from runner.facts.peek import Peek, data_files, peek, saved_columns
from runner.project import shipped
from runner.recipe.local_paths import entry_paths
from runner.recipe.rules import Facts

LISTS = ("datasets", "test_datasets")
# what Axolotl takes for rows that are tokenized already, whatever the type (utils/data/wrappers.py)
TOKENIZED = {"input_ids", "attention_mask", "labels"}
# the doubt of files that are not looked into
OUTSIDE = "it is a link that leads out of the project, and was not looked into"


@dataclass(frozen=True, slots=True)
class Local:
    """One entry of `datasets`: where it stands in the recipe, what it says, and its files. `columns` are of all."""

    at: str
    entry: dict[str, Any]
    peeks: tuple[Peek, ...]
    columns: tuple[str, ...]

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        for each in self.peeks:
            yield from each.rows

    @property
    def key(self) -> str:
        """What to point at: the entry's own path, or its first file."""
        return f"{self.at}.data_files" if self.entry.get("data_files") else f"{self.at}.path"


def local_data(facts: Facts) -> Iterator[Local]:
    """In the order of the recipe. What comes from a need, from the hub or from a store elsewhere is passed over."""
    for name in LISTS:
        for at, node in facts.all(f"{name}.*"):
            entry = node.plain()
            if isinstance(entry, dict) and (found := _local(facts.root or Path.cwd(), at, entry)):
                yield found


def _local(root: Path, at: str, entry: dict[str, Any]) -> Local | None:
    listed = {**entry, "path": None} if entry.get("data_files") else entry
    peeks: list[Peek] = []
    columns: dict[str, None] = {}
    for path in (_place(root, name) for name in entry_paths(listed)):
        if path is None:
            continue
        if _leads_out(root, path):
            peeks.append(Peek(path, doubt=OUTSIDE))
            continue
        if os.path.isdir(path):  # noqa: PTH112 - Path's raises on odd names
            columns |= dict.fromkeys(saved_columns(path))
        for file in data_files(path):
            found = _peeked(file, *_state(file), entry.get("ds_type"))
            peeks.append(found)
            columns |= dict.fromkeys(found.columns)
    return Local(at, entry, tuple(peeks), tuple(columns)) if peeks or columns else None


def _place(root: Path, name: str) -> Path | None:
    """As `resolve` finds it: `${data}` and `${project}` are places of ours, anything else `${...}` is a need's."""
    for spelt, folder in (("${data}", shipped("data")), ("${project}", root)):
        if name.startswith(spelt):
            name = f"{folder}{name.removeprefix(spelt)}"
    if "${" in name or "\x00" in name or len(name) > 1024:
        return None
    return root / name


def _leads_out(root: Path, path: Path) -> bool:
    """Whether a place inside the project turns out to be another, by a link. What a recipe names by itself, with an
    absolute path or `..`, everybody sees."""
    if ".." in path.parts or not path.is_relative_to(root):
        return False
    try:
        return not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle, which reading tells
        return False


def _state(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=128)
def _peeked(file: Path, changed: int, size: int, kind: Any) -> Peek:
    return peek(file, kind)
