"""Signals that ask us to stop, and a wait that they and the end of a child cut short."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """`asked` are the signals that came. Must be made in the main thread."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.inside, outside = os.pipe()
        os.set_blocking(outside, False)
        os.set_blocking(self.inside, False)
        signal.set_wakeup_fd(outside, warn_on_full_buffer=False)
        for number in ASKING:
            if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # nohup
                signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked.append(number)

    def wait(self, seconds: float) -> None:
        if select.select([self.inside], [], [], seconds)[0]:
            os.read(self.inside, 4096)
