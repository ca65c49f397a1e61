"""What flows through retrieval and answering: documents, passages, hits, and the Store that keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # (n, dimension), rows of length 1 where the metric is cosine
# a filter on metadata: every key equal to the value, or to one of a list of values
Where = Mapping[str, Any]


class Problem(Exception):
    """What a person can mend: told in one line as `error: ...`, exit code 1; never a traceback."""


@dataclass(frozen=True, slots=True)
class Document:
    """A source as it was read. `id` stays when its content changes; `sha256` is of the bytes that were read, and of
    the metadata that the recipe adds."""

    id: str
    uri: str
    title: str
    sha256: str
    mime: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    # character offsets at which the pages of a PDF begin, the first being 0; empty where there are none
    pages: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: what is embedded, found, and cited. Offsets are characters of `Document.text`, half open;
    lines and pages count from 1, and `page` is None where a document has none."""

    id: str  # of document, place and content: equal for equal content at an equal place
    document: str
    ordinal: int
    text: str
    start: int
    end: int
    start_line: int
    end_line: int
    tokens: int
    page: int | None = None
    heading: str = ""
    # the larger passage that it was cut from, which is what the model is shown (parent-child); its id
    parent: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found. `score` is that of the last stage that ranked it; `scores` and `ranks` (from 1) are
    those of each stage: `dense`, `bm25`, `hybrid`, `rerank`."""

    passage: Passage
    score: float
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    # where it is shown in wider surroundings (window, parent): the text that the model sees; else the passage's own
    shown: str = ""


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What an index was made with; a store refuses (Problem) to be opened with another."""

    name: str
    dimension: int
    metric: str  # cosine or dot
    embedding: str  # the model's name, and the digest of its weights' file
    tokenizer: str
    chunking: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """All of one document that goes in, replacing what was there under its id. `vectors` has a row for each passage
    with `parent is None or` a child: parents themselves are kept without a vector, and are listed in `parents`."""

    document: Document
    passages: tuple[Passage, ...]
    vectors: Vectors
    parents: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What each part of the store holds; all of `passages`, `vectors` and `lexical` are equal in a sound index."""

    documents: int
    passages: int
    vectors: int
    lexical: int
    bytes: int


class Store(Protocol):
    """An index that lasts. Modules of stores/ have `open_store(spec, config) -> Store`, which makes it on first use.

    Every method may be called from several threads. Raises Problem where the server can't be reached or the spec
    disagrees; Unavailable where it could be reached before.
    """

    spec: IndexSpec

    def known(self) -> dict[str, str]:
        """Document id -> sha256, of all that are in."""
        ...

    def apply(self, changes: Sequence[Change], removed: Sequence[str] = ()) -> None:
        """In one transaction where the store has them: killed at any point, each document is whole, old or new."""
        ...

    def ingesting(self) -> AbstractContextManager[None]:
        """Held by one ingest at a time. Raises Problem at once where another holds it."""
        ...

    def settle(self) -> None:
        """After the last apply of an ingest: builds what is cheaper built at once. Without it searches are slower."""
        ...

    def dense(self, vector: Vectors, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """(dimension,) -> passage ids and similarities (cosine or inner product), best first."""
        ...

    def lexicon(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(passage id, text for BM25 with title and heading, meta) of every passage that is searched."""
        ...

    def generation(self) -> int:
        """Rises with every apply, in the same transaction: what is cached from `lexicon` is stale when it differs."""
        ...

    def fetch(self, ids: Sequence[str]) -> dict[str, Passage]:
        """Passages, parents among them."""
        ...

    def around(self, passage: Passage, before: int, after: int) -> list[Passage]:
        """Neighbours in the document, itself among them, in order."""
        ...

    def document(self, id: str) -> Document | None: ...

    def scan(self, batch: int = 256) -> Iterator[Change]:
        """Everything, to move it into another store."""
        ...

    def counts(self) -> Counts: ...

    def check(self) -> None:
        """Raises Unavailable unless it answers now."""
        ...

    def close(self) -> None: ...


def as_searched(title: str, heading: str, text: str) -> str:
    """What is embedded, and read by BM25, for a passage: its text below the names of where it stands."""
    names = (title if title != text else "", heading if heading != title else "")
    return "\n".join(line for line in (*names, text) if line)


class Unavailable(Problem):
    """The store, or the language model, does not answer at present; the service says 503 and tries again by itself."""
