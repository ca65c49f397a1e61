"""Config -> the index that it names, opened; refuses one that was made with other settings."""

from __future__ import annotations

from importlib import import_module

from . import models
from .config import Config
from .embed import Embedder
from .types import IndexSpec, Problem, Store

KINDS = ("postgres", "qdrant", "lancedb")
# of the keys of `chunking`, those that decide where a document is cut
CUTS = ("splitter", "chunk_size", "chunk_overlap", "parent_size", "framework")


def index_spec(config: Config) -> IndexSpec:
    embedder = Embedder(config.embedding, None)
    return IndexSpec(
        name=config.name,
        dimension=embedder.dimension,
        metric="cosine" if embedder.normalize else "dot",
        embedding=embedder.identity,
        tokenizer=models.find(config.embedding["model"]).tokenizer_digest,
        chunking={key: config.chunking.get(key) for key in CUTS},
    )


def open_index(config: Config, kind: str | None = None) -> Store:
    kind = kind or config.store.get("kind") or "postgres"
    if kind not in KINDS:
        raise Problem(f"no store {kind!r}; there are {', '.join(KINDS)}")
    store: Store = import_module(f".stores.{kind}", __package__).open_store(index_spec(config), config)
    return store
