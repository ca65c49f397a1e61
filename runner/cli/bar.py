"""A bar with an estimate for work that takes more than a moment: on a terminal, on stderr, and gone when it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
# what is done sooner needs no bar, and flickers with one
PATIENCE_S = 0.7


def over(items: Sequence[T], doing: str) -> Iterator[T]:
    """`items`, each counted when the next one is asked for; piped, nothing but the items."""
    if not sys.stderr.isatty():
        yield from items
        return
    began, bar, task = time.monotonic(), None, None
    try:
        for done, item in enumerate(items):
            if bar is None and done and time.monotonic() - began > PATIENCE_S:
                bar = _bar(len(items))
                bar.start()
                task = bar.add_task(doing, total=len(items))
            if bar is not None:
                bar.update(task, completed=done)
            yield item
    finally:
        if bar is not None:
            bar.stop()


def _bar(total: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def working(doing: str) -> Iterator[None]:
    """For work that can't say how far it is: what it does, and for how long it has."""
    if not sys.stderr.isatty():
        yield
        return
    shown: list[Any] = []

    def begin() -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        shown.append(Progress(*columns, console=Console(stderr=True), transient=True))
        shown[0].add_task(doing, total=None)
        shown[0].start()

    late = threading.Timer(PATIENCE_S, begin)
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()
        late.join()
        for each in shown:
            each.stop()
