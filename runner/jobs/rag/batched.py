"""Questions that come at the same time -> one call of the embedder, whose time hardly grows with their number."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Protocol

from .types import Vectors


class Embedder(Protocol):
    def passages(self, texts: list[str]) -> Vectors: ...
    def queries(self, texts: list[str]) -> Vectors: ...


class Batched:
    """From any thread: whoever comes first computes for all that wait by then."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._waiting: list[tuple[str, Future[Vectors]]] = []
        self._list, self._turn = threading.Lock(), threading.Lock()

    def passages(self, texts: list[str]) -> Vectors:
        return self.embedder.passages(texts)

    def queries(self, texts: list[str]) -> Vectors:
        return self.embedder.queries(texts)

    def query(self, text: str) -> Vectors:
        mine: Future[Vectors] = Future()
        with self._list:
            self._waiting.append((text, mine))
        with self._turn:
            with self._list:
                batch, self._waiting = self._waiting, []
            if batch:
                self._compute(batch)
        return mine.result()

    def _compute(self, batch: list[tuple[str, Future[Vectors]]]) -> None:
        try:
            for (_, future), vector in zip(batch, self.embedder.queries([text for text, _ in batch]), strict=True):
                future.set_result(vector)
        except BaseException as error:  # theirs as well as ours
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
