"""`python -m rag ingest rag.json`: sources x store -> an index that holds them and nothing else, and ingest.json.

What has not changed is skipped, what has is replaced, what is gone is taken out, in transactions of some hundred
passages: killed at any point and run again, it goes on, and ends where it would have ended. Refuses while another
ingest runs, and to call an index whole whose parts don't agree.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from .chunk import cutting
from .config import Config, read_config
from .embed import Embedder, open_embedder
from .index import index_spec, open_index
from .parallel import Made, make
from .sources import Item
from .sources.listing import items
from .types import Change, Counts, Problem, Store, as_searched

AT_ONCE = 512  # passages in one transaction, about: sorted by length they are embedded faster
TOLD_S = 2.0
LOOK_S = 1.0
UPLOADS = "uploads"  # a folder of the run that is a source too, where it is there


@dataclass
class Report:
    """What one ingest did; ingest.json. `bytes` is what the index takes on disk."""

    documents: int = 0
    passages: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    embedded: int = 0  # passages that went in
    set_aside: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    chunks_per_s: float = 0.0
    computed_per_s: float | None = None  # passages whose vectors were not known from before; None where all were
    bytes: int = 0
    peak_rss_bytes: int = 0


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        raise Problem("usage: python -m rag ingest rag.json")
    config = read_config(Path(argv[0]))
    report = ingest(config)
    _written(config.folder / "ingest.json", asdict(report))
    counted = f"{report.documents} documents, {report.passages} passages"
    with (config.folder / "metrics.jsonl").open("a") as metrics:
        row = {"time": time.time(), "passages": report.passages, "passages_per_s": report.chunks_per_s}
        metrics.write(json.dumps({**row, "headline": counted}) + "\n")
    print(
        f"{counted}: {report.added} added, {report.changed} changed, "
        f"{report.removed} removed, {report.unchanged} unchanged, {len(report.set_aside)} set aside; "
        f"{report.chunks_per_s:.1f} passages/s, {report.seconds:.1f} s",
        flush=True,
    )
    return 0


def ingest(
    config: Config,
    store: Store | None = None,
    embedder: Embedder | None = None,
    sources: list[dict[str, Any]] | None = None,
) -> Report:
    """With `sources` it adds and replaces only what is in those, and removes nothing. Raises Problem."""
    opened = store or open_index(config)
    model = embedder or open_embedder(config)
    try:
        with opened.ingesting():
            report = _ingest(config, opened, model, sources)
        _describe(config, report)
        return report
    finally:
        if embedder is None:
            model.close()
        if store is None:
            opened.close()


def _ingest(config: Config, store: Store, embedder: Embedder, sources: list[dict[str, Any]] | None) -> Report:
    began = time.monotonic()
    report = Report()
    known, before = store.known(), store.counts()
    _sound(before, len(known), "before this ingest")
    listed = _Listed(config, sources, known, report)
    progress = _Progress()
    waiting: list[Made] = []
    how = cutting(config.chunking, embedder.max_length - embedder.special)
    for made in make(iter(listed), how, embedder.model.folder):
        progress.read += 1
        if made.reason:
            # what it was before stays: a file that can't be read now is no file that was deleted
            report.set_aside.append({"uri": made.uri, "reason": made.reason})
        elif made.document is None:
            report.unchanged += 1
        else:
            waiting.append(made)
            if sum(len(m.passages) for m in waiting) >= AT_ONCE:
                _put(store, embedder, waiting, known, report)
                waiting = []
        progress.tell(report)
    _put(store, embedder, waiting, known, report)
    gone = listed.gone() if sources is None else []
    if gone:
        store.apply([], gone)
        report.removed = len(gone)
    if report.added or report.changed or report.removed or before.passages == 0:
        store.settle()
    after = store.counts()
    _sound(after, len(known) + report.added - report.removed, "after this ingest")
    report.documents, report.passages, report.bytes = after.documents, after.passages, after.bytes
    report.seconds = round(time.monotonic() - began, 3)
    report.chunks_per_s = round(report.embedded / max(report.seconds, 1e-3), 2)
    if embedder.computed:
        report.computed_per_s = round(embedder.computed / max(embedder.computing_s, 1e-3), 2)
    report.peak_rss_bytes = max(progress.held, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    for each in report.set_aside:
        print(f"set aside: {each['uri']}: {each['reason']}", flush=True)
    return report


class _Listed:
    """What is there, one after the other; and when all has been taken, what is there no longer."""

    def __init__(
        self, config: Config, sources: list[dict[str, Any]] | None, known: dict[str, str], report: Report
    ) -> None:
        uploads = config.folder / UPLOADS
        own = config.sources + ([{"path": str(uploads)}] if uploads.is_dir() else [])
        self._items = items(own if sources is None else sources, config.folder)
        self._known, self._report = known, report
        self._here: set[str] = set()
        self._hidden = False

    def __iter__(self) -> Iterator[Item]:
        for found in self._items:
            if isinstance(found, Item):
                self._here.add(found.id)
                yield replace(found, known=self._known.get(found.id, ""))
            else:
                self._hidden = self._hidden or found.hides
                self._report.set_aside.append({"uri": found.uri, "reason": found.reason})

    def gone(self) -> list[str]:
        if self._hidden:
            print("nothing is taken out of the index: a file whose documents it has can't be read", flush=True)
            return []
        return sorted(set(self._known) - self._here)


def _put(store: Store, embedder: Embedder, made: Sequence[Made], known: dict[str, str], report: Report) -> None:
    if not made:
        return
    texts = [
        as_searched(m.document.title, p.heading, p.text) for m in made if m.document is not None for p in m.passages
    ]
    vectors = embedder.passages(texts)
    changes, at = [], 0
    for each in made:
        assert each.document is not None
        rows = vectors[at : at + len(each.passages)]
        at += len(rows)
        changes.append(Change(each.document, each.passages, rows, each.parents))
    store.apply(changes)
    replaced = sum(change.document.id in known for change in changes)
    report.changed += replaced
    report.added += len(changes) - replaced
    report.embedded += len(texts)


def _sound(counts: Counts, documents: int, when: str) -> None:
    """Raises Problem."""
    parts = {"passages": counts.passages, "vectors": counts.vectors, "full text": counts.lexical}
    if len(set(parts.values())) > 1:
        said = ", ".join(f"{count} {name}" for name, count in parts.items())
        raise Problem(f"the index is not whole {when}: {said}; remove it and ingest again")
    if counts.documents != documents:
        raise Problem(f"the index has {counts.documents} documents {when}, and should have {documents}")


def _describe(config: Config, report: Report) -> None:
    """index/index.json: what the index was made with, for who looks into the folder."""
    folder = config.folder / "index"
    folder.mkdir(exist_ok=True)
    counted = {"documents": report.documents, "passages": report.passages, "bytes": report.bytes}
    _written(folder / "index.json", {**asdict(index_spec(config)), "store": config.store.get("kind"), **counted})


def _written(file: Path, found: dict[str, Any]) -> None:
    beside = file.with_suffix(f".{os.getpid()}.part")
    beside.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    beside.replace(file)


def held_together() -> int:
    """Bytes of this process and all below it: those that read documents, and the embedded store. What several share
    counts once where the system tells."""
    total, mine = 0, psutil.Process()
    for each in (mine, *mine.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended meanwhile
            found = each.memory_full_info()
            total += getattr(found, "pss", found.rss)
    return total


class _Progress:
    """A line now and then; `held` is the most memory, in bytes, that all our processes were seen to have together."""

    def __init__(self) -> None:
        self.read = self.held = 0
        self._began = self._told = time.monotonic()
        self._looked = 0.0

    def tell(self, report: Report) -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self.held = max(self.held, held_together())
            self._looked = time.monotonic()
        if now - self._told >= TOLD_S:
            self._told = now
            rate = report.embedded / (now - self._began)
            print(
                f"ingest: {self.read} documents read, {report.embedded} passages in, {rate:.1f} passages/s",
                flush=True,
            )
