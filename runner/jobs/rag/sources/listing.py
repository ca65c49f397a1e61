"""The recipe's `sources` -> every document that is there, by name; refuses a source that is missing."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..types import Problem
from . import Aside, Item, Unreadable, stdlib

FORMATS = {
    "markdown": "md markdown mdx",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "jsonl": "jsonl ndjson",
    "code": "py pyi js mjs ts tsx jsx go rs java kt scala c h cc cpp hpp cs rb php swift sh bash zsh lua r jl sql pl",
    "text": "txt text rst adoc org tex log csv tsv json yaml yml toml ini cfg conf xml",
}
BY_SUFFIX = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes.split()}
# made by programs, or for them
SKIPPED = {"node_modules", "__pycache__", "site-packages", "venv"}
FIELDS = {"id": "_id", "text": "text", "title": "title"}
Found = Item | Aside


def items(sources: list[dict[str, Any]], folder: Path) -> Iterator[Found]:
    """Of equal ids the first counts, and the other is set aside. Raises Problem, before anything is listed."""
    for source in sources:
        if not source.get("stdlib") and not (folder / source["path"]).exists():
            # an empty folder empties the index; a missing one is a mistake, or a disk that isn't there today
            raise Problem(f"the source {source['path']} is not there")
    seen: dict[str, str] = {}
    for number, source in enumerate(sources):
        label = _label(sources, number)
        for found in _stdlib(source) if source.get("stdlib") else _path(source, folder, label):
            if isinstance(found, Item):
                if found.id in seen:
                    yield Aside(found.uri, f"its id {found.id!r} is that of {seen[found.id]}")
                    continue
                seen[found.id] = found.uri
            yield found


def _label(sources: list[dict[str, Any]], number: int) -> str:
    """A folder's last name, and where an earlier source has the same, a number too: ids begin with it."""
    names = [Path(source.get("path") or "").name for source in sources]
    before = names[:number].count(names[number])
    return f"{names[number]}-{before + 1}" if before else names[number]


def _stdlib(source: dict[str, Any]) -> Iterator[Found]:
    for name, file in stdlib.modules():
        whole = [".".join(name.split(".")[: n + 1]) for n in range(name.count(".") + 1)]
        if any(_named(part, source.get("include") or ["*"]) for part in whole) and not any(
            _named(part, source.get("exclude") or []) for part in whole
        ):
            yield Item(f"stdlib/{name}", f"stdlib/{name}", "stdlib", file, meta=source.get("meta") or {})


def _named(name: str, globs: list[str]) -> bool:
    return any(glob == "**/*" or fnmatch.fnmatchcase(name, glob) for glob in globs)


def _path(source: dict[str, Any], folder: Path, label: str) -> Iterator[Found]:
    path = folder / source["path"]
    if path.is_file():
        yield from _file(source, path, path.name)
        return
    for file in _walk(path):
        relative = file.relative_to(path).as_posix()
        asked = _globbed(relative, source.get("include") or ["**/*"])
        if asked and not _globbed(relative, source.get("exclude") or []):
            if file.is_symlink() and not _real(file).is_relative_to(_real(path)):
                yield Aside(f"{label}/{relative}", "a link that leads out of the source")
            else:
                yield from _file(source, file, f"{label}/{relative}")


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in SKIPPED)
        yield from (Path(place) / file for file in sorted(files) if not file.startswith("."))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike resolve() it takes a link that leads to itself


def _refuse(error: OSError) -> None:
    raise Problem(f"the folder {error.filename} can't be listed: {error.strerror}") from error


def _globbed(name: str, globs: list[str]) -> bool:
    return any(_pattern(glob).fullmatch(name) for glob in globs)


@lru_cache
def _pattern(glob: str) -> re.Pattern[str]:
    """`**/` is any folders or none, `*` and `?` stay within one name."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", glob.removeprefix("./"))
    whole = [words.get(p, p if p.startswith("[") and p.endswith("]") else re.escape(p)) for p in parts]
    return re.compile("".join(whole) + (".*" if glob.endswith("/") else ""), re.DOTALL)


def _file(source: dict[str, Any], file: Path, name: str) -> Iterator[Found]:
    given = source.get("format") or "auto"
    format = BY_SUFFIX.get(file.suffix.lower().lstrip("."), "unknown") if given == "auto" else given
    meta, fields = source.get("meta") or {}, {**FIELDS, **(source.get("fields") or {})}
    if format != "jsonl":
        yield Item(name, name, format, file, meta=meta)
        return
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield _row(Item("", f"{name}:{number}", format, file, line, fields, meta))
    except OSError as error:
        yield Aside(name, error.strerror or str(error), hides=True)


def _row(item: Item) -> Found:
    try:
        row = row_of(item)
    except Unreadable as why:
        return Aside(item.uri, str(why))
    given = row.get(item.fields["id"])
    id_ = item.uri if given is None or given == "" else str(given)
    return Item(id_, item.uri, item.format, item.file, item.line, item.fields, item.meta)


def row_of(item: Item) -> dict[str, Any]:
    """Raises Unreadable."""
    try:
        row = json.loads(item.line or b"")
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"no JSON: {error}") from error
    if not isinstance(row, dict):
        raise Unreadable("no JSON object")
    return row
