"""A store in memory and vectors of words, for tests in the rag environment in which what is found is told by hand."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rag import lexical, words
from rag.types import Passage


class WordVectors:
    """A direction for each word; a text is their sum."""

    def query(self, text: str) -> Any:
        found = np.zeros(256, np.float32)
        for word in words.raw_words(text.casefold()):
            found += np.random.default_rng(zlib.crc32(word.encode())).normal(size=256).astype(np.float32)
        return found / max(1e-9, float(np.linalg.norm(found)))


class Memory:
    """What retrieval needs of types.Store."""

    def __init__(self, passages: Sequence[Passage], parents: Sequence[Passage] = ()) -> None:
        self._lock = threading.Lock()
        self._at = 0
        self.parents = {p.id: p for p in parents}
        self.replace(passages)

    def replace(self, passages: Sequence[Passage]) -> None:
        embed = WordVectors()
        with self._lock:
            self.passages = {p.id: p for p in passages}
            self.vectors = {p.id: embed.query(p.text) for p in passages}
            self._at += 1

    def dense(self, vector: Any, k: int, where: Any = None) -> list[tuple[str, float]]:
        with self._lock:
            found = [(i, float(v @ vector)) for i, v in self.vectors.items()]
            found = [(i, s) for i, s in found if not where or lexical.matches(self.passages[i].meta, where)]
        return sorted(found, key=lambda each: -each[1])[:k]

    def similarities(self, vector: Any, ids: Sequence[str]) -> dict[str, float]:
        with self._lock:
            return {i: float(self.vectors[i] @ vector) for i in ids if i in self.vectors}

    def lexicon(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        with self._lock:
            return iter([(p.id, p.text, p.meta) for p in self.passages.values()])

    def generation(self) -> int:
        return self._at

    def fetch(self, ids: Sequence[str]) -> dict[str, Passage]:
        with self._lock:
            known = {**self.parents, **self.passages}
        return {i: known[i] for i in ids if i in known}

    def document(self, name: str) -> None:
        """Passages are all that there is."""

    def around(self, passage: Passage, before: int, after: int) -> list[Passage]:
        same = [p for p in self.passages.values() if p.document == passage.document]
        return sorted(
            (p for p in same if -before <= p.ordinal - passage.ordinal <= after), key=lambda each: each.ordinal
        )
