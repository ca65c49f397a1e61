"""Secrets in the logs of a folder, masked while servers write them: nobody may be there when a detached one ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .redact import LogMask, mask_logs

EVERY_S = 1.0


class Masking(threading.Thread):
    """Every log.txt and *.log in `folder`, whole lines at a time, until `close`; then what is left of them.

    `redact.py` beside this file is the runner's own, by a link: an engine's environment has no runner in it.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(daemon=True, name="masking")
        self.folder, self.environment = folder, dict(environment)
        self.masks: dict[Path, LogMask] = {}
        self.closed = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.closed.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        for file in (self.folder / "log.txt", *self.folder.glob("*.log")):
            if file.is_symlink() or not file.is_file():
                continue
            mask = self.masks.setdefault(file, LogMask(file, self.environment))
            with suppress(OSError):  # a disk that is full now may have room later
                mask.look()

    def close(self) -> None:
        self.closed.set()
        self.join()
        with suppress(OSError):
            mask_logs(self.folder, self.environment)
