"""An endpoint as it goes: queue, running requests, tokens per second, KV cache; a line on a terminal, few in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from runner.cli.progress import duration
from runner.launch.endpoints import read_state
from runner.record import read_metrics

# without a terminal: while requests come, and not more often
PLAIN_EVERY_S = 30.0


class ServeView:
    """`asked` counts how often we have been asked to stop."""

    def __init__(self, title: str, run: Path) -> None:
        self.title, self.run = title, run
        self.asked = 0
        self.began = time.monotonic()
        self.told_at = 0.0
        self.told = ""
        self.row: dict[str, Any] = {}
        self.at = 0
        self.status: Any = None

    def __enter__(self) -> ServeView:
        if sys.stderr.isatty():
            from rich.console import Console

            self.status = Console(stderr=True).status(self.title)
            self.status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.status is not None:
            self.status.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is printed meanwhile has lines of its own."""
        if self.status is not None:
            self.status.stop()
        yield
        if self.status is not None:
            self.status.start()

    def opened(self) -> None:
        self.began = time.monotonic()
        if self.status is None:
            click.echo("serving; Ctrl-C lets requests under way come to their end", err=True)

    def look(self) -> None:
        rows, self.at = read_metrics(self.run, self.at)
        self.row = rows[-1] if rows else self.row
        state = read_state(self.run)
        status = "draining" if self.asked else str(state.get("status") or "starting")
        if self.status is not None:
            self.status.update(f"{self.title} {self._line(status)}  {duration(time.monotonic() - self.began)}")
        elif status != self.told or (rows and self._busy() and time.monotonic() - self.told_at > PLAIN_EVERY_S):
            self.told, self.told_at = status, time.monotonic()
            click.echo(f"{self.title}: {self._line(status)}", err=True)

    def _busy(self) -> bool:
        return bool(self.row.get("running") or self.row.get("queue") or self.row.get("tokens_per_s"))

    def _line(self, status: str) -> str:
        if not self.row:
            return status
        r = self.row
        return (
            f"{status}  queue {r.get('queue', 0):.0f}  running {r.get('running', 0):.0f}"
            f"  {r.get('tokens_per_s', 0):,.0f} tok/s  KV cache {100 * r.get('kv_use', 0):.0f}%"
        )
