"""Files and folders by what is in them: one hash each, which says the same on any machine."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.project import cache_dir
from runner.record import file_hash, write_json

# what is larger is hashed once for each size and time that it has: a model takes a minute
KEPT_BYTES = 64 * 2**20
KEPT = "content-hashes.json"


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder that of its files' names and hashes, times and owners left out."""
    if path.is_file():
        return _hash(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0{_hash(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def content_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def _hash(file: Path) -> str:
    stat = file.stat()
    if stat.st_size < KEPT_BYTES:
        return file_hash(file)
    key = f"{file.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    known = _known()
    if key not in known:
        known[key] = file_hash(file)
        with suppress(OSError):  # a cache that can't be written costs time, and nothing else
            cache_dir().mkdir(parents=True, exist_ok=True)
            write_json(cache_dir() / KEPT, known)
    return known[key]


def _known() -> dict[str, str]:
    try:
        found: Any = json.loads((cache_dir() / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
