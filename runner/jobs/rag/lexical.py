"""Store.lexicon -> BM25 in memory, made anew when the store has changed; a question -> passage ids, best first."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .types import Problem, Store, Where
from .words import asked, raw_words, stemmer, terms

# an index that was made in less than this is made anew before it answers; a larger one in the background, while the
# old one answers
AT_ONCE_S = 0.5
MASKS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    k1: float = 0.9  # as in BEIR's own baseline
    b: float = 0.4
    stemmer: str | None = "english"


@dataclass(slots=True)
class Vocabulary:
    """Terms and what each passage has of them, kept from one index to the next: only what is new is read again."""

    settings: Settings
    ids: dict[str, int] = field(default_factory=dict)
    raw: dict[str, tuple[int, ...]] = field(default_factory=dict)
    passages: dict[str, tuple[int, NDArray[np.int32]]] = field(default_factory=dict)

    def read(self, passage: str, text: str) -> NDArray[np.int32]:
        """Term numbers of a passage, those that come twice twice."""
        digest = hash(text)
        kept = self.passages.get(passage)
        if kept is not None and kept[0] == digest:
            return kept[1]
        found: list[int] = []
        for word in raw_words(text):
            numbers = self.raw.get(word)
            found.extend(self._number(word) if numbers is None else numbers)
        row = np.array(found, dtype=np.int32)
        self.passages[passage] = (digest, row)
        return row

    def _number(self, word: str) -> tuple[int, ...]:
        stem = stemmer(self.settings.stemmer)
        numbers = tuple(self.ids.setdefault(term, len(self.ids)) for term in terms(word, stem))
        self.raw[word] = numbers
        return numbers


@dataclass(frozen=True, slots=True)
class Index:
    """BM25's weight of each term (column) in each passage (row), computed beforehand as bm25s does; bm25s itself takes
    half a minute over 100,000 passages, in Python, which is too long to follow a store that changes."""

    generation: int
    passages: list[str]
    weights: sp.csc_array
    numbers: dict[str, int]
    meta: list[Mapping[str, Any]]
    masks: dict[tuple[Any, ...], NDArray[np.bool_]]
    settings: Settings

    def search(self, question: str, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """Only passages that share a term with the question."""
        terms = asked(question, stemmer(self.settings.stemmer))
        columns = [number for term in terms if (number := self.numbers.get(term)) is not None]
        columns = [number for number in columns if number < self.weights.shape[1]]
        scores = np.zeros(len(self.passages), dtype=np.float32)
        starts, rows, values = self.weights.indptr, self.weights.indices, self.weights.data
        for column in columns:
            part = slice(starts[column], starts[column + 1])
            scores[rows[part]] += values[part]
        if where:
            scores *= self._mask(where)
        found = np.flatnonzero(scores > 0)
        if found.size > k:
            # all that are as good as the last of them, so that ties are broken by order and not by chance
            least = np.partition(scores[found], found.size - k)[found.size - k]
            found = found[scores[found] >= least]
        best = found[np.argsort(-scores[found], kind="stable")][:k]
        return [(self.passages[row], float(scores[row])) for row in best]

    def _mask(self, where: Where) -> NDArray[np.bool_]:
        key = tuple(sorted((name, repr(value)) for name, value in where.items()))
        mask = self.masks.get(key)
        if mask is None:
            mask = np.fromiter((matches(meta, where) for meta in self.meta), dtype=bool, count=len(self.meta))
            if len(self.masks) >= MASKS:
                self.masks.clear()
            self.masks[key] = mask
        return mask


def matches(meta: Mapping[str, Any], where: Where) -> bool:
    """Every key equal to the value, or to one of a list of values."""
    return all(
        name in meta and (meta[name] in value if isinstance(value, (list, tuple)) else meta[name] == value)
        for name, value in where.items()
    )


def build(generation: int, rows: Sequence[tuple[str, str, Mapping[str, Any]]], vocabulary: Vocabulary) -> Index:
    """BM25 as Lucene has it: idf = ln(1 + (N - n + 0.5) / (n + 0.5)), tf / (tf + k1 (1 - b + b length / mean))."""
    settings = vocabulary.settings
    read = [vocabulary.read(passage, text) for passage, text, _ in rows]
    lengths = np.array([row.size for row in read], dtype=np.int64)
    shape = (len(rows), max(1, len(vocabulary.ids)))
    flat = np.concatenate(read) if read else np.zeros(0, np.int32)
    at = np.repeat(np.arange(len(rows), dtype=np.int32), lengths)
    # equal places are added up
    counted = sp.coo_array((np.ones(flat.size, np.float32), (at, flat)), shape=shape).tocsc()
    n = np.diff(counted.indptr)
    idf = np.log(1 + (len(rows) - n + 0.5) / (n + 0.5))
    mean = max(1.0, float(lengths.mean())) if len(rows) else 1.0
    norm = settings.k1 * (1 - settings.b + settings.b * lengths / mean)
    tf = counted.data
    counted.data = (np.repeat(idf, n) * tf / (tf + norm[counted.indices])).astype(np.float32)
    gone = vocabulary.passages.keys() - {passage for passage, _, _ in rows}
    for passage in gone:
        del vocabulary.passages[passage]
    return Index(
        generation, [passage for passage, _, _ in rows], counted, vocabulary.ids, [m for _, _, m in rows], {}, settings
    )


class Lexical:
    """The index of one store, followed as it changes. What has been deleted may still be found until it is made anew:
    who fetches the passages leaves out those that are gone."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._vocabulary = Vocabulary(settings)
        self._building = threading.Lock()
        self._index: Index | None = None
        self._took_s = 0.0

    def search(self, question: str, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        return self.index().search(question, k, where)

    def index(self) -> Index:
        """That of the store as it is now; or, where making it takes long, the last one, while the next is made."""
        index = self._index
        if index is not None and index.generation == self._store.generation():
            return index
        if index is None or self._took_s < AT_ONCE_S:
            return self._build()
        if self._building.acquire(blocking=False):
            threading.Thread(target=self._behind, name="lexical", daemon=True).start()
        return index

    def _behind(self) -> None:
        try:
            self._make()
        except Problem:
            pass  # the store is away: the next question tries again
        finally:
            self._building.release()

    def _build(self) -> Index:
        with self._building:
            index = self._index
            if index is not None and index.generation == self._store.generation():
                return index
            return self._make()

    def _make(self) -> Index:
        began = time.perf_counter()
        # read first: what changes while the lexicon is read is stale, and is read again
        generation = self._store.generation()
        index = build(generation, list(self._store.lexicon()), self._vocabulary)
        self._took_s = time.perf_counter() - began
        self._index = index
        return index
