"""Items -> what was made of each, in order, by several processes at once where that is worth it."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from . import models
from .chunk import Cutting, cut
from .sources import Item, Unreadable
from .sources.reading import read
from .types import Document, Passage, Problem

TOGETHER = 32  # items that go to a process at once
FEW = 64  # are read by this process itself: others take a second to start


@dataclass(frozen=True, slots=True)
class Made:
    """With a reason it is set aside; without a document it has not changed."""

    uri: str
    reason: str = ""
    document: Document | None = None
    passages: tuple[Passage, ...] = ()
    parents: tuple[Passage, ...] = ()


def make(items: Iterator[Item], how: Cutting, model: Path) -> Iterator[Made]:
    """Takes of `items` only what is next. Raises Problem where a process dies, of too little memory as a rule."""
    first = list(islice(items, FEW))
    rest = iter(lambda: list(islice(items, TOGETHER)), [])
    parts = chain((first[at : at + TOGETHER] for at in range(0, len(first), TOGETHER)), rest)
    workers = os.cpu_count() or 1
    if len(first) < FEW or workers < 2:
        for part in parts:
            yield from _made(part, how, model)
        return
    # started anew rather than forked: by now this process has threads
    context = multiprocessing.get_context("forkserver")
    waiting: deque[Future[list[Made]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_alone) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(_made, part, how, model))
                if len(waiting) >= 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise Problem("a process that reads documents was killed; is there enough memory?") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    """Each process one thread: there is one for each core."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _made(items: Sequence[Item], how: Cutting, model: Path) -> list[Made]:
    tokenizer = models.tokenizer(model)
    found = []
    for item in items:
        try:
            one = read(item, how.splitter)
            if one is None:
                found.append(Made(item.uri))
            else:
                passages, parents = cut(one, how, tokenizer)
                found.append(Made(item.uri, "", one.document, passages, parents))
        except Unreadable as why:
            found.append(Made(item.uri, str(why)))
        except (MemoryError, RecursionError) as error:
            found.append(Made(item.uri, f"too much for its reader: {type(error).__name__}"))
    return found
