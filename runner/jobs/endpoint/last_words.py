"""What a server said before it died, from the end of its log."""

from __future__ import annotations

import re
from pathlib import Path

TAIL = 256 * 1024
# vLLM puts the process, the level, the time and the place before what was raised
_PLACE = r"(?:\(\w+ pid=\d+\) )*(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] )?"
_RAISED = re.compile(_PLACE + r"(?P<said>(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt): .+)")
_USAGE = re.compile(r"(?:[\w ./-]*: )?error: (?P<said>.+)|\[ALERT\]\s*\(\d+\) : (?P<alert>.+)")
# what the front says of an engine that has failed; the cause stands before it
_ECHO = ("See root cause above", "Engine core initialization failed", "EngineDeadError", "RuntimeError: cancelled")
# without a word of its own: an illegal instruction, or the kernel for want of memory
_LOST = re.compile(_PLACE + r"(?P<said>Worker proc \S+ died unexpectedly.*)")


def last_words(log: Path, start: int = 0) -> str:
    """The first cause that is told after byte `start`, else the last line; empty where nothing was said."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(start, stream.tell() - TAIL))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    raised, usage, lost = [], [], []
    for line in (line.strip()[:2000] for line in lines):
        if match := _RAISED.fullmatch(line):
            raised.append(match["said"])
        elif match := _USAGE.fullmatch(line):
            usage.append(match["said"] or match["alert"])
        elif match := _LOST.fullmatch(line):
            lost.append(match["said"])
    causes = [said for said in raised if not any(echo in said for echo in _ECHO)]
    spoken = [line.strip() for line in lines if line.strip() and "HTTP/1." not in line]
    # one error is often raised again and again on its way up: the last of the first kind is the most telling
    chosen = usage[:1] or causes[-1:] or lost[:1] or raised[-1:] or spoken[-1:]
    return chosen[0][:500] if chosen else ""
