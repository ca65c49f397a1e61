"""Stopping: no new requests, those under way to their end, then no process left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from . import processes
from .child import Child
from .signals import Signals

# vLLM needs some seconds for its engine after the last request; after that it is killed
LATE_S = 10.0
# servers that have answered nobody yet, or were to be stopped in a hurry
UNREADY_S = 5.0


def drain(
    replicas: Sequence[Child], proxy: Child | None, *, seconds: float, signals: Signals, told: Callable[[], None]
) -> None:
    """`seconds` are those that requests under way get. A further SIGINT or SIGTERM cuts them short. `told` is called
    now and then, to write down what has changed."""
    asked = len(signals.asked)
    end = time.monotonic() + seconds

    def until(over: Callable[[], bool], deadline: float) -> None:
        while not over() and time.monotonic() < deadline and len(signals.asked) == asked:
            signals.wait(0.2)
            told()

    if proxy is not None and proxy.alive:
        proxy.process.send_signal(signal.SIGUSR1)  # HAProxy stops listening, and ends after its last request
        until(lambda: not proxy.alive, end)
    for child in replicas:
        if child.alive:
            child.process.terminate()
    until(lambda: not any(child.alive for child in replicas), max(end, time.monotonic()) + LATE_S)
    finish([*replicas, *([proxy] if proxy else [])])


def abandon(children: Sequence[Child], signals: Signals) -> None:
    """Of servers that were never ready: nothing is under way, but they may tidy up."""
    asked, end = len(signals.asked), time.monotonic() + UNREADY_S
    for child in children:
        if child.alive:
            child.process.terminate()
    while any(child.alive for child in children) and time.monotonic() < end and len(signals.asked) == asked:
        signals.wait(0.2)
    finish(children)


def finish(children: Sequence[Child]) -> None:
    for child in children:
        child.readiness.stopped.set()
    processes.end([session for child in children for session in child.sessions], processes.mark())
    for child in children:
        child.process.wait()
