"""The first rows of a local data file and its columns: bounded bytes, whatever the file holds, without pyarrow.

What can be read here is what `datasets` 5 reads (tried with its json, csv and text loaders): JSON objects one after the
other, on one line or several, or in one list; JSON that is not UTF-8 is read, CSV and text are not.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.facts.parquet import parquet_columns
from runner.facts.rows import data_type

# read at first, and where that holds no whole row
_BYTES = (1 << 17, 1 << 22)
ROWS = 50
# entries of a folder that are looked at, and files that are read
_ENTRIES, _FILES = 500, 3
_ENDS = (".parquet", ".jsonl", ".json", ".csv", ".txt", ".jsonl.gz", ".json.gz", ".csv.gz", ".txt.gz")
# what is told of the data in a folder beside them
_ABOUT = ("dataset_info.json", "state.json", "dataset_dict.json")
_CUT = "Unterminated string"


@dataclass(frozen=True, slots=True)
class Peek:
    """`columns` of the first `rows`; `trouble` says why the file can't be read as data, `doubt` what makes it doubtful.
    `whole`: there are no more rows."""

    file: Path
    rows: tuple[dict[str, Any], ...] = ()
    columns: tuple[str, ...] = ()
    whole: bool = False
    trouble: str = ""
    doubt: str = ""


def data_files(path: Path) -> list[Path]:
    """The file at `path`, or the first few files of data in the folder there or in its `data`; none of other things."""
    if os.path.isdir(path):  # noqa: PTH112 - Path's raises on odd names
        found = [*_listed(path), *_listed(path / "data")]
        return sorted(found)[:_FILES]
    return [path] if os.path.lexists(path) else []


def _listed(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_ENTRIES), entries, strict=False):
                if entry.name.endswith(_ENDS) and entry.name not in _ABOUT:
                    yield Path(entry.path)
    except OSError:
        return


def saved_columns(folder: Path) -> tuple[str, ...]:
    """Of a dataset that `save_to_disk` left, by its own description."""
    try:
        told = json.loads((folder / "dataset_info.json").read_bytes()[: _BYTES[1]])
        return tuple(told["features"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ()


def peek(file: Path, given: Any = None) -> Peek:
    """`given` is the kind that a recipe says; else the file's name tells. Never raises, never waits for a writer."""
    kind = data_type(str(file), given)
    if kind not in ("json", "csv", "text", "parquet"):
        return Peek(file)
    try:
        if kind == "parquet":
            return Peek(file, columns=_parquet(file))
        for size in _BYTES:
            start, whole = _start(file, size)
            found = _read(file, kind, start, whole)
            if found.rows or found.trouble or whole:
                return found
    except (OSError, EOFError, ValueError, zlib.error) as error:
        said = getattr(error, "strerror", None) or str(error)
        return Peek(file, trouble=f"{said[:1].lower()}{said[1:]}")
    return Peek(file, doubt=f"its first row is longer than {_BYTES[1] >> 20} MiB")


def _parquet(file: Path) -> tuple[str, ...]:
    with _opened(file) as stream:
        return parquet_columns(stream)


def _opened(file: Path) -> io.BufferedReader:
    """Raises OSError for what is no file: a pipe would be waited for, a device never ends."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a regular file")
    return os.fdopen(handle, "rb")


def _start(file: Path, size: int) -> tuple[bytes, bool]:
    with _opened(file) as raw:
        stream = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
        start = stream.read(size + 1)
    return start[:size], len(start) <= size


def _read(file: Path, kind: str, start: bytes, whole: bool) -> Peek:
    if kind == "json":
        if b"\x00" in start:
            return Peek(file, trouble="it holds NUL bytes")
        text = start.decode("utf-8-sig", "replace")
        rows, trouble, more = _objects(text, whole)
        columns = tuple(dict.fromkeys(str(key) for row in rows for key in row))
        return Peek(file, tuple(rows), columns, whole and not more, trouble)
    try:
        text = _utf8(start, whole)
    except UnicodeDecodeError as error:
        line = start[: error.start].count(b"\n") + 1
        return Peek(file, trouble=f"it is not UTF-8: byte 0x{start[error.start]:02x} in line {line}")
    if kind == "text":
        lines = text.splitlines()[:ROWS]
        return Peek(file, tuple({"text": line} for line in lines), ("text",), whole and len(lines) < ROWS)
    return _csv(file, text, whole)


def _utf8(start: bytes, whole: bool) -> str:
    try:
        return start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if whole or error.start < len(start) - 4:  # else a character was cut in two
            raise
        return start[: error.start].decode("utf-8-sig")


def _csv(file: Path, text: str, whole: bool) -> Peek:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows: list[dict[str, Any]] = []
    try:
        columns = tuple(str(c) for c in reader.fieldnames or ())
        for row in reader:
            rows.append(row)
            if len(rows) == ROWS:
                break
    except csv.Error:
        return Peek(file)
    if not whole and rows:
        rows.pop()  # it may be cut
    return Peek(file, tuple(rows), columns, whole and len(rows) < ROWS)


def _objects(text: str, whole: bool) -> tuple[list[dict[str, Any]], str, bool]:
    """The rows at the start of JSON text, what is wrong with the first that is none, and whether there are more."""
    decoder, at, rows = json.JSONDecoder(strict=False), 0, list[dict[str, Any]]()
    listed = text.lstrip()[:1] == "["
    if listed:
        at = text.index("[") + 1
    while len(rows) < ROWS:
        at = _skip(text, at, " \t\r\n," if listed else " \t\r\n")
        if at == len(text) or (listed and text[at] == "]"):
            if not rows and whole:
                return rows, "it holds no rows", False
            return rows, "", False
        try:
            found, end = decoder.raw_decode(text, at)
        except RecursionError:
            return rows, f"row {len(rows)} is nested too deeply", True
        except ValueError as error:
            cut = not whole and (str(error).startswith(_CUT) or getattr(error, "pos", 0) > len(text) - 16)
            line = text.count("\n", 0, at) + 1
            return rows, "" if cut else f"line {line} is not JSON: {_said(error)}", True
        if not isinstance(found, dict):
            return rows, f"row {len(rows)} is no mapping of columns to values", True
        rows.append(found)
        at = end
    return rows, "", True


def _said(error: ValueError) -> str:
    said = str(getattr(error, "msg", error))
    return said[:1].lower() + said[1:]


def _skip(text: str, at: int, over: str) -> int:
    while at < len(text) and text[at] in over:
        at += 1
    return at
