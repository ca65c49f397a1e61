"""Content hash -> vector, in a SQLite file that several processes share and that outlives a kill at any point."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from .types import Problem, Vectors

AT_ONCE = 500  # names in one query


class VectorCache:
    """Of one model: the file's name says which. A file that can't be read is set aside and made again."""

    def __init__(self, file: Path, dimension: int) -> None:
        self._dimension = dimension
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._base = _open(file)
        except sqlite3.DatabaseError:
            file.replace(file.with_suffix(".broken"))
            for beside in ("-wal", "-shm"):
                file.with_name(file.name + beside).unlink(missing_ok=True)
            self._base = _open(file)
        except OSError as error:
            raise Problem(f"the cache of vectors can't be written: {error.strerror}: {file}") from error

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Vectors]:
        wanted = list(keys)
        found: dict[bytes, Vectors] = {}
        with self._lock:
            for at in range(0, len(wanted), AT_ONCE):
                part = wanted[at : at + AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = self._base.execute(f"select key, vector from vector where key in ({marks})", part)  # noqa: S608
                found |= {key: np.frombuffer(vector, np.float32) for key, vector in rows}
        # of another length: written by a program that named its file alike
        return {key: vector for key, vector in found.items() if vector.shape == (self._dimension,)}

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        rows = [(key, vector.astype(np.float32, copy=False).tobytes()) for key, vector in vectors.items()]
        # a full disk costs the cache, not the ingest
        with self._lock, contextlib.suppress(sqlite3.OperationalError), self._base:
            self._base.executemany("insert or replace into vector values (?, ?)", rows)

    def close(self) -> None:
        self._base.close()


def _open(file: Path) -> sqlite3.Connection:
    base = sqlite3.connect(file, timeout=30, check_same_thread=False)
    base.execute("pragma journal_mode = wal")
    base.execute("pragma synchronous = normal")
    base.execute("create table if not exists vector (key blob primary key, vector blob not null) without rowid")
    base.commit()
    return base
