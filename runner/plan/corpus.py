"""Sources of a recipe -> how many documents and bytes of text there are, without reading them."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# where files are read as code, of which a token holds fewer bytes
CODE = frozenset((".py", ".js", ".ts", ".go", ".rs", ".c", ".h", ".cpp", ".hpp", ".java", ".rb", ".sh", ".sql"))
# what is around the text of a document weighs more than the text
MARKED = frozenset((".pdf", ".html", ".htm"))
# files beyond which a folder is not walked to its end: a plan takes a second, not minutes
MOST_FILES = 200_000


@dataclass(frozen=True, slots=True)
class Corpus:
    """`sections` are what is cut by itself, of which each document is one where nothing else is known; `prose` and
    `code` are bytes of text, at most. `notes` say what is not known."""

    documents: int
    sections: int
    prose: int
    code: int
    notes: tuple[str, ...] = ()


def corpus_of(sources: Iterable[Mapping[str, Any]], stdlib: Mapping[str, int]) -> Corpus:
    """Sources with their defaults filled in, paths absolute; `stdlib` are the whole library's documents and bytes."""
    documents = sections = prose = code = 0
    notes: dict[str, None] = {}
    for source in sources:
        if source.get("stdlib"):
            share = _share(source["include"], source["exclude"])
            documents += max(1, round(share * stdlib["documents"]))
            sections += round(share * stdlib["sections"])
            prose += round(share * stdlib["bytes"])
            if share < 1:
                notes["the standard library's modules are taken for equally large"] = None
            continue
        for file in _files(Path(str(source["path"])), source):
            size = file.stat().st_size
            if file.suffix.lower() == ".jsonl" or source["format"] == "jsonl":
                documents, prose = documents + _lines(file), prose + size
                continue
            documents += 1
            if file.suffix.lower() in CODE or source["format"] == "code":
                code += size
            else:
                prose += size
            if file.suffix.lower() in MARKED:
                notes["HTML and PDF are counted by the bytes of their files, of which the text is a part"] = None
        if documents > MOST_FILES:
            notes[f"counting stopped after {MOST_FILES:,} files"] = None
            break
    return Corpus(documents, max(documents, sections), prose, code, tuple(notes))


def _share(include: Iterable[str], exclude: Iterable[str]) -> float:
    """Of the standard library's public modules, those that are read."""
    names = [name for name in sys.stdlib_module_names if not name.startswith("_")]
    taken = [name for name in names if _matches(name, include) and not _matches(name, exclude)]
    return len(taken) / len(names)


def _files(path: Path, source: Mapping[str, Any]) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if file.is_file() and _matches(name, source["include"]) and not _matches(name, source["exclude"]):
            yield file


def _matches(name: str, globs: Iterable[str]) -> bool:
    """`**/` also stands for no folder at all."""
    return any(fnmatch.fnmatch(name, glob) or fnmatch.fnmatch(name, glob.removeprefix("**/")) for glob in globs)


def _lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
