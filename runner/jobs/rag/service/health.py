"""Whether the parts answer: the store, and the language model; looked at when somebody asks, and every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from ..answer import Pipeline
from ..types import Problem
from .state import State
from .telemetry import Metrics

EVERY_S, PATIENCE_S = 5.0, 8.0
# whoever asks more often hears the same again
FRESH_S = 0.5


class Health:
    """`told` is what each part said last: empty where all is well."""

    def __init__(self, pipeline: Pipeline, metrics: Metrics, state: State) -> None:
        self.pipeline, self.metrics, self.state = pipeline, metrics, state
        self.told: dict[str, str] = dict.fromkeys(self._checks(), "not looked at yet")
        self._looking, self._at = asyncio.Lock(), 0.0

    def _checks(self) -> dict[str, Callable[[], None]]:
        checks = {"store": self.pipeline.store.check}
        return checks | ({"model": self.pipeline.generator.check} if self.pipeline.generator else {})

    @property
    def missing(self) -> str:
        """What the first part says that does not answer; empty where all do."""
        return next((said for said in self.told.values() if said), "")

    async def look(self) -> bool:
        """Threads of its own: those of the pipeline may all be waiting for what is down."""
        async with self._looking:
            checks = self._checks() if time.monotonic() - self._at > FRESH_S else {}
            for part, check in checks.items():
                try:
                    await asyncio.wait_for(asyncio.to_thread(check), PATIENCE_S)
                    self.told[part] = ""
                except (Problem, TimeoutError) as problem:
                    self.told[part] = str(problem) or f"the {part} does not answer"
                self.metrics.up.labels(part).set(not self.told[part])
            if checks:
                self._at = time.monotonic()
                self.state.looked(self.missing)
        return not any(self.told.values())

    async def keep_looking(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await self.look()
                await asyncio.sleep(EVERY_S)
