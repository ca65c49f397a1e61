"""A BEIR folder's corpus -> an index of its own, made with the recipe's settings, and a Retriever over it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..config import Config
from ..embed import open_embedder
from ..index import open_index
from ..ingest import ingest
from ..retrieve import Retriever
from ..types import Problem
from .beir import CORPUS, PACKED, file_of, opened

BELOW = "evaluation"


@contextmanager
def indexed(config: Config, folder: Path) -> Iterator[tuple[Retriever, dict[str, Any]]]:
    """The retriever, and what is told of the index. What is in it already is not made again. Raises Problem."""
    own = within(config, folder)
    embedder = open_embedder(own)
    store = open_index(own)
    generator = None
    try:
        report = ingest(own, store, embedder)
        if not report.passages:
            raise Problem(f"{folder}: nothing of corpus.jsonl can be indexed")
        if config.generator:
            from ..llm import Generator

            generator = Generator(config)
        retriever = Retriever(own, store, embedder, generator.ask if generator else None)
        embedder.warm()
        retriever.warm()
        counts = store.counts()
        about = {
            **asdict(store.spec), "store": config.store["kind"], "documents": counts.documents,
            "passages": counts.passages, "set_aside": len(report.set_aside), "ingest_s": report.seconds,
            "bytes": counts.bytes,
        }  # fmt: skip
        yield retriever, about
    finally:
        if generator is not None:
            generator.client.close()
        store.close()
        embedder.close()


def within(config: Config, folder: Path) -> Config:
    """The same settings over a BEIR folder's documents, in a folder of their own below the run's; a filter of the
    recipe's own documents would hide them all."""
    below = config.folder / BELOW
    below.mkdir(exist_ok=True)
    source = {"path": str(_unpacked(file_of(folder, CORPUS), below).resolve()), "format": "jsonl"}
    retrieval = {**config.retrieval, "where": {}}
    return replace(config, name=f"{config.name}-questions", folder=below, sources=[source], retrieval=retrieval)


def _unpacked(corpus: Path, below: Path) -> Path:
    if corpus.suffix != PACKED:
        return corpus
    with opened(corpus) as rows, (below / CORPUS).open("w", encoding="utf-8", newline="") as out:
        shutil.copyfileobj(rows, out)
    return below / CORPUS
