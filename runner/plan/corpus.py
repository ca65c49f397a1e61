"""Sources of a recipe -> how many documents and bytes of text there are, without reading them."""

from __future__ import annotations

import fnmatch
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
    """`prose` and `code` are bytes of text, at most. `notes` say what is not known."""

    documents: int
    prose: int
    code: int
    notes: tuple[str, ...] = ()


def corpus_of(sources: Iterable[Mapping[str, Any]], stdlib: Mapping[str, int]) -> Corpus:
    """Sources with their defaults filled in, paths absolute; `stdlib` are the whole library's documents and bytes."""
    documents = prose = code = 0
    notes: dict[str, None] = {}
    for source in sources:
        if source.get("stdlib"):
            documents, prose = documents + stdlib["documents"], prose + stdlib["bytes"]
            if source["include"] != ["*"] or source["exclude"]:
                notes["the whole standard library is counted, of which a part is read"] = None
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
    return Corpus(documents, prose, code, tuple(notes))


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
