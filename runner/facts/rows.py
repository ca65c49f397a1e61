"""How many rows local data files hold: counted from the files themselves, without pyarrow and never for long."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from runner.facts.parquet import parquet_rows

# Larger files are counted by their first part, so that a plan never takes long: lines count at 1 GB a second, the
# records of CSV at 200 MB, JSON in one list at 300, and what is compressed at 30 of the compressed.
WHOLE_BYTES = {"json": 200_000_000, "text": 200_000_000, "csv": 50_000_000, "list": 50_000_000, "gz": 10_000_000}
SAMPLE_BYTES = 10_000_000
_BLOCK = 1 << 20
# by the ends of names, as Axolotl goes (utils/data/shared.py, EXTENSIONS_TO_DATASET_TYPES); json where none matches
_TYPES = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".txt": "text"}


class Uncountable(Exception):
    """A file that can't be counted here; the message says why."""


@dataclass(frozen=True, slots=True)
class Rows:
    """`exact` is False where only the first part of a large file was counted."""

    count: int
    exact: bool = True


def data_type(path: str, given: Any = None) -> str:
    if given:
        return str(given)
    return next((kind for end, kind in _TYPES.items() if end in path), "json")


def count_rows(file: Path, kind: str) -> Rows:
    """`kind` is json (lines or one list), csv, text, parquet or arrow. Raises Uncountable."""
    try:
        if kind == "parquet":
            with file.open("rb") as stream:
                return Rows(parquet_rows(stream))
        if kind == "arrow":
            raise Uncountable(f"an Arrow file can't be counted without pyarrow: {file.name}")
        if kind == "csv":
            return _csv_rows(file)
        return _list_rows(file) if kind == "json" and _is_list(file) else _lines(file)
    except (OSError, ValueError, EOFError) as error:
        raise Uncountable(f"{file.name} can't be read: {error}") from None


def first_rows(file: Path, kind: str, most_bytes: int) -> Iterator[dict[str, Any]]:
    """Rows of a JSON, CSV or text file from its start, until `most_bytes` of text have been read."""
    if kind in ("parquet", "arrow"):
        return
    if kind == "json" and _is_list(file):
        yield from (row for row, _ in _listed(file, most_bytes) if isinstance(row, dict))
        return
    with _open(file) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        if kind == "csv":
            read = 0
            for row in csv.DictReader(text):
                yield row
                read += sum(len(str(v)) for v in row.values())
                if read > most_bytes:
                    return
            return
        for line in text:
            if line.strip():
                found = {"text": line} if kind == "text" else _row(line)
                if found is not None:
                    yield found
            most_bytes -= len(line)
            if most_bytes < 0:
                return


def _row(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _whole(file: Path, kind: str) -> bool:
    return file.stat().st_size <= WHOLE_BYTES["gz" if file.suffix == ".gz" else kind]


def _share(file: Path, stream: IO[bytes], read: int) -> float:
    """Of the file that has been read, of a compressed one as it lies on disk."""
    raw = stream.fileobj if isinstance(stream, gzip.GzipFile) else None
    return (raw.tell() if raw is not None else read) / file.stat().st_size


def _is_list(file: Path) -> bool:
    """One JSON list, not a row on each line."""
    with _open(file) as stream:
        return stream.read(1024).lstrip().startswith(b"[")


def _listed(file: Path, most_bytes: int) -> Iterator[tuple[Any, int]]:
    """The elements of a JSON list at the start of a file, each with the bytes up to its end."""
    with _open(file) as stream:
        text = stream.read(most_bytes).decode("utf-8", "replace")
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:  # the end of the list, or of what was read
            return
        yield found, at


def _list_rows(file: Path) -> Rows:
    if _whole(file, "list"):
        with _open(file) as stream:
            return Rows(len(json.loads(stream.read())))
    if file.suffix == ".gz":
        raise Uncountable(f"{file.name} is one large JSON list; a row on each line can be counted")
    ends = [end for _, end in _listed(file, SAMPLE_BYTES)]
    return Rows(round(len(ends) * file.stat().st_size / ends[-1]) if ends else 1, exact=False)


def _lines(file: Path) -> Rows:
    whole = _whole(file, "text")
    count, read, last = 0, 0, b"\n"
    with _open(file) as stream:
        while (whole or read < SAMPLE_BYTES) and (block := stream.read(_BLOCK)):
            count += block.count(b"\n")
            read, last = read + len(block), block[-1:]
        return Rows(count + (last != b"\n")) if whole else Rows(round(count / _share(file, stream, read)), exact=False)


def _csv_rows(file: Path) -> Rows:
    """Records, not lines: a quoted field may hold line ends. The first record names the columns."""
    whole = _whole(file, "csv")
    with _open(file) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        if whole:
            return Rows(max(0, sum(1 for row in csv.reader(text) if row) - 1))
        count = read = 0
        for row in csv.reader(text):
            count, read = count + 1, read + sum(map(len, row)) + len(row)
            if read > SAMPLE_BYTES:
                break
        return Rows(round(count / _share(file, stream, read)), exact=False)
