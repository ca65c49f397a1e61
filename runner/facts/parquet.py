"""What the footer of a Parquet file says: its row count and its columns, read without pyarrow.

The footer is FileMetaData in Thrift's compact protocol: {1: version, 2: schema, 3: num_rows, ...}, the schema a tree
listed depth first, each element with {4: name, 5: num_children} (apache/parquet-format: parquet.thrift; apache/thrift:
doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

_SCHEMA, _NUM_ROWS = 2, 3
_NAME, _CHILDREN = 4, 5
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
# a footer that is longer is none that a dataset has
_MOST_BYTES = 1 << 26
# what a damaged one raises: it ends too early, or is nested without end
_BROKEN = (OSError, IndexError, RecursionError)


def parquet_rows(stream: IO[bytes]) -> int:
    """Raises ValueError for what is no Parquet file."""
    try:
        footer, _ = _upto(stream, _NUM_ROWS)
        return _signed(_varint(footer))
    except _BROKEN:
        raise ValueError("it is no whole Parquet file") from None


def parquet_columns(stream: IO[bytes]) -> tuple[str, ...]:
    """The names of the top-level columns. Raises ValueError for what is no Parquet file."""
    try:
        footer, kind = _upto(stream, _SCHEMA)
        if kind not in _LISTS:
            raise ValueError("its footer names no schema")
        return tuple(_children([_element(footer) for _ in range(_count(footer))]))
    except _BROKEN:
        raise ValueError("it is no whole Parquet file") from None


def _children(elements: list[tuple[str, int]]) -> Iterator[str]:
    """Of the root, which comes first; below it the elements of each subtree are passed over."""
    below = 0
    for name, children in elements[1:]:
        if not below:
            yield name
            below = children
        else:
            below += children - 1


def _upto(stream: IO[bytes], wanted: int) -> tuple[io.BytesIO, int]:
    """The footer from the value of a field on, and what type that is."""
    stream.seek(-8, io.SEEK_END)
    tail = stream.read(8)
    if tail[4:] != b"PAR1":
        raise ValueError("it does not end as a Parquet file does")
    length = int.from_bytes(tail[:4], "little")
    if length > _MOST_BYTES:
        raise ValueError("its footer is too long")
    stream.seek(-8 - length, io.SEEK_END)
    footer = io.BytesIO(stream.read(length))
    field = 0
    while True:
        field, kind = _field(footer, field)
        if kind == 0:
            raise ValueError("its footer lacks what every Parquet file says")
        if field == wanted:
            return footer, kind
        _skip(footer, kind)


def _element(footer: IO[bytes]) -> tuple[str, int]:
    name, children, field = "", 0, 0
    while True:
        field, kind = _field(footer, field)
        if not kind:
            return name, children
        if field == _NAME and kind == _BINARY:
            name = _take(footer, _varint(footer)).decode("utf-8", "replace")
        elif field == _CHILDREN and kind in _INTEGERS:
            children = max(0, _signed(_varint(footer)))
        else:
            _skip(footer, kind)


def _count(footer: IO[bytes]) -> int:
    head = _take(footer, 1)[0]
    return _varint(footer) if head >> 4 == 15 else head >> 4


def _signed(number: int) -> int:
    """Zigzag."""
    return (number >> 1) ^ -(number & 1)


def _field(data: IO[bytes], last: int) -> tuple[int, int]:
    head = _take(data, 1)[0]
    step, kind = head >> 4, head & 15
    if kind and not step:
        return _signed(_varint(data)), kind
    return last + step, kind


def _varint(data: IO[bytes]) -> int:
    found = 0
    for shift in range(0, 70, 7):
        byte = _take(data, 1)[0]
        found |= (byte & 127) << shift
        if byte < 128:
            return found
    raise IndexError


def _take(data: IO[bytes], count: int) -> bytes:
    """Raises IndexError where the footer ends before."""
    found = data.read(count) if count <= _MOST_BYTES else b""
    if len(found) < count:
        raise IndexError
    return found


def _skip(data: IO[bytes], kind: int) -> None:
    if kind in _BOOLEANS:
        return
    if kind == _BYTE:
        _take(data, 1)
    elif kind in _INTEGERS:
        _varint(data)
    elif kind == _DOUBLE:
        _take(data, 8)
    elif kind == _BINARY:
        _take(data, _varint(data))
    elif kind in _LISTS:
        head = _take(data, 1)[0]
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
        _take(data, 1)
    else:
        _skip(data, kind)
