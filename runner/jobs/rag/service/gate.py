"""How many are worked on at once and how many may wait; who comes beyond is told so at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..types import Problem


class Full(Problem):
    """`retry_after_s` is when a place should be free."""

    def __init__(self, said: str, retry_after_s: int) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class Gate:
    """Of one event loop. First come, first served."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self.at_once, self.may_wait = at_once, waiting
        self.inside = self.waiting = 0
        self._places = asyncio.Semaphore(at_once)
        # how long one of them took of late
        self._takes_s = 2.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Raises Full."""
        if self._places.locked() and self.waiting >= self.may_wait:
            retry = min(60, max(1, round(self._takes_s * (self.waiting + 1) / self.at_once)))
            raise Full(f"{self.inside} questions are being answered and {self.waiting} wait: try again later", retry)
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.inside += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            self.inside -= 1
            self._takes_s += 0.2 * (loop.time() - began - self._takes_s)
            self._places.release()
