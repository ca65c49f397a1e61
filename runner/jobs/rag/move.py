"""`python -m rag move rag.json --to STORE`: all of an index into another store, proven equal; refuses a full one.

STORE is lancedb, qdrant or postgres, in the run's folder; or postgresql://..., qdrant://HOST:PORT, lancedb:FOLDER.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .config import Config, read_config
from .index import KINDS, open_index
from .types import Change, Counts, Problem, Store

AT_ONCE = 2000  # passages in one transaction, about
TOLD_S = 2.0


@dataclass
class Moved:
    """`digest` is of every document, passage, place, metadata and vector, in the order of the documents' ids."""

    counts: Counts
    digest: str
    seconds: float


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rag move")
    parser.add_argument("config", type=Path)
    parser.add_argument("--to", required=True, metavar="STORE")
    given = parser.parse_args(argv)
    config = read_config(given.config)
    there = destination(config, given.to)
    moved = move(config, there)
    print(
        f"{moved.counts.documents} documents, {moved.counts.passages} passages moved to {there['kind']} and compared, "
        f"{moved.seconds:.1f} s; digest {moved.digest[:16]}. In the recipe: store: {{kind: {there['kind']}"
        + (", url: ...}" if there.get("url") else "}"),
        flush=True,
    )
    return 0


def destination(config: Config, to: str) -> dict[str, Any]:
    """`store` of the recipe as it would be. Raises Problem."""
    kind, separator, rest = to.partition(":")
    kind = {"postgresql": "postgres"}.get(kind, kind)
    if kind not in KINDS or (separator and not rest):
        raise Problem(f"no store {to!r}: give lancedb, qdrant, postgres, postgresql://..., qdrant://HOST:PORT")
    url = {"postgres": to, "qdrant": f"http:{rest}", "lancedb": rest}[kind] if separator else None
    if (kind, url) == (config.store.get("kind") or "postgres", config.store.get("url")):
        raise Problem(f"the index is in {kind} already")
    return {**config.store, "kind": kind, "url": url}


def move(config: Config, there: dict[str, Any]) -> Moved:
    """Raises Problem, also where what arrived is not what left."""
    began = time.monotonic()
    source = open_index(config)
    try:
        target = open_index(replace(config, store=there))
        try:
            with source.ingesting(), target.ingesting():
                if target.counts().documents:
                    raise Problem(f"the index in {there['kind']} isn't empty: remove it first")
                left = _copied(source, target)
                target.settle()
                arrived = digest(target.scan())
            before, after = source.counts(), target.counts()
            if left != arrived or (before.documents, before.passages) != (after.documents, after.passages):
                raise Problem(f"what arrived in {there['kind']} is not what left: {before} and {after}")
            return Moved(after, arrived, time.monotonic() - began)
        finally:
            target.close()
    finally:
        source.close()


def _copied(source: Store, target: Store) -> str:
    """Its digest, as it left."""
    sum_, waiting, passages, told = hashlib.sha256(), [], 0, time.monotonic()
    for change in source.scan():
        sum_.update(_bytes(change))
        waiting.append(change)
        passages += len(change.passages)
        if sum(len(each.passages) for each in waiting) >= AT_ONCE:
            target.apply(waiting)
            waiting = []
        if time.monotonic() - told > TOLD_S:
            told = time.monotonic()
            print(f"move: {passages} passages", flush=True)
    if waiting:
        target.apply(waiting)
    return sum_.hexdigest()


def digest(changes: Iterable[Change]) -> str:
    sum_ = hashlib.sha256()
    for change in changes:
        sum_.update(_bytes(change))
    return sum_.hexdigest()


def _bytes(change: Change) -> bytes:
    parts = [asdict(each) for each in (change.document, *change.passages, *change.parents)]
    said = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=list).encode()
    return hashlib.sha256(said).digest() + hashlib.sha256(change.vectors.astype("<f4").tobytes()).digest()
