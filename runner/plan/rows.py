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

# above this a file is counted by its first part, which takes a tenth of a second
WHOLE_BYTES = 200_000_000
SAMPLE_BYTES = 20_000_000
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
            return Rows(_parquet_rows(file))
        if kind == "arrow":
            raise Uncountable(f"an Arrow file can't be counted without pyarrow: {file.name}")
        if kind == "csv":
            return _csv_rows(file)
        return _lines(file) if kind == "text" or not _is_list(file) else Rows(len(json.loads(file.read_bytes())))
    except (OSError, ValueError, EOFError) as error:
        raise Uncountable(f"{file.name} can't be read: {error}") from None


def first_rows(file: Path, kind: str, most_bytes: int) -> Iterator[dict[str, Any]]:
    """Rows of a JSON, CSV or text file from its start, until `most_bytes` of text have been read."""
    if kind in ("parquet", "arrow"):
        return
    if kind == "json" and _is_list(file):
        if file.stat().st_size <= most_bytes:
            yield from (row for row in json.loads(file.read_bytes()) if isinstance(row, dict))
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


def _is_list(file: Path) -> bool:
    """One JSON list, not a row on each line. Larger ones than are worth reading are refused."""
    with _open(file) as stream:
        if not stream.read(1024).lstrip().startswith(b"["):
            return False
    if file.stat().st_size > WHOLE_BYTES or file.suffix == ".gz":
        raise Uncountable(f"{file.name} is one large JSON list; a row on each line can be counted")
    return True


def _lines(file: Path) -> Rows:
    size = file.stat().st_size
    limit = SAMPLE_BYTES if size > WHOLE_BYTES and file.suffix != ".gz" else None
    count, read, last = 0, 0, b"\n"
    with _open(file) as stream:
        while (limit is None or read < limit) and (block := stream.read(_BLOCK)):
            count += block.count(b"\n")
            read, last = read + len(block), block[-1:]
    if limit is not None:
        return Rows(round(count * size / read), exact=False)
    return Rows(count + (last != b"\n"))


def _csv_rows(file: Path) -> Rows:
    """Records, not lines: a quoted field may hold line ends. The first record names the columns."""
    size = file.stat().st_size
    with _open(file) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        if size <= WHOLE_BYTES:
            return Rows(max(0, sum(1 for row in csv.reader(text) if row) - 1))
        count = read = 0
        for row in csv.reader(text):
            count, read = count + 1, read + sum(map(len, row)) + len(row)
            if read > SAMPLE_BYTES:
                break
    return Rows(round(count * size / read), exact=False)


# --- Parquet: the row count stands in the footer, in Thrift's compact protocol ---
# (apache/parquet-format: FileMetaData is {1: version, 2: schema, 3: num_rows, ...}; apache/thrift:
# doc/specs/thrift-compact-protocol.md)

_NUM_ROWS = 3
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12


def _parquet_rows(file: Path) -> int:
    with file.open("rb") as stream:
        stream.seek(-8, io.SEEK_END)
        tail = stream.read(8)
        if tail[4:] != b"PAR1":
            raise ValueError("it does not end as a Parquet file does")
        length = int.from_bytes(tail[:4], "little")
        stream.seek(-8 - length, io.SEEK_END)
        footer = io.BytesIO(stream.read(length))
    field = 0
    while True:
        field, kind = _field(footer, field)
        if kind == 0:
            raise ValueError("its footer names no row count")
        if field == _NUM_ROWS:
            number = _varint(footer)
            return (number >> 1) ^ -(number & 1)  # zigzag
        _skip(footer, kind)


def _field(data: IO[bytes], last: int) -> tuple[int, int]:
    head = data.read(1)[0]
    step, kind = head >> 4, head & 15
    if kind and not step:
        number = _varint(data)
        return (number >> 1) ^ -(number & 1), kind
    return last + step, kind


def _varint(data: IO[bytes]) -> int:
    found = shift = 0
    while True:
        byte = data.read(1)[0]
        found |= (byte & 127) << shift
        if byte < 128:
            return found
        shift += 7


def _skip(data: IO[bytes], kind: int) -> None:
    if kind in _BOOLEANS:
        return
    if kind == _BYTE:
        data.read(1)
    elif kind in _INTEGERS:
        _varint(data)
    elif kind == _DOUBLE:
        data.read(8)
    elif kind == _BINARY:
        data.read(_varint(data))
    elif kind in _LISTS:
        head = data.read(1)[0]
        for _ in range(_varint(data) if head >> 4 == 15 else head >> 4):
            _skip_element(data, head & 15)
    elif kind == _STRUCT:
        field = 0
        while True:
            field, kind_of_field = _field(data, field)
            if not kind_of_field:
                return
            _skip(data, kind_of_field)
    else:
        raise ValueError(f"its footer has a part of unknown type {kind}")


def _skip_element(data: IO[bytes], kind: int) -> None:
    """A boolean in a list takes a byte of its own, in a struct it is in the field's head."""
    if kind in _BOOLEANS:
        data.read(1)
    else:
        _skip(data, kind)
