"""A log and a line of it -> the lines around it, as a person can read them: no bars, no colours, nothing endless."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runner.redact import redact

BEFORE, AFTER = 4, 2
# how far to look for lines that have something to say
REACH = 60
WIDEST = 400
# of what an engine said: enough to find it by, where a record has cut it
SAID = 80
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# a line of carets or tildes under Python's source, of a rank's or a server's too
_MARKS = re.compile(r"(?:\[rank\d+\]:|\(\w+ pid=\d+\))?(?: [A-Z]+ [\d-]+ [\d:]+ \[\S+\])?[\s^~|]*")


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str


def excerpt_of(log: Path, line: int | None) -> tuple[Line, ...]:
    """Around `line` (from 1 on), or the log's last lines where it is None. Empty lines and carets are left out."""
    try:
        lines = log.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError:
        return ()
    if line is None:
        return tuple(_shown(lines, len(lines) - REACH, len(lines))[-(BEFORE + AFTER) :])
    above, below = _shown(lines, line - 1 - REACH, line - 1), _shown(lines, line - 1, line - 1 + REACH)
    return (*above[-BEFORE:], *below[: AFTER + 1])


def last_line_with(log: Path, said: str) -> int | None:
    """The last line (from 1 on) that has the beginning of what an engine said; None where there is none."""
    words = said.split("\n")[0][:SAID].encode()
    try:
        text = log.read_bytes() if words else b""
    except OSError:
        return None
    at = text.rfind(words) if words else -1
    return text.count(b"\n", 0, at) + 1 if at >= 0 else None


def _shown(lines: list[str], start: int, end: int) -> list[Line]:
    start = max(0, start)
    return [made for n, text in enumerate(lines[start:end], start + 1) if (made := _line(n, text)) is not None]


def _line(number: int, text: str) -> Line | None:
    # what a progress bar wrote over is gone on a terminal too
    kept = _STYLE.sub("", text.rstrip("\r").rpartition("\r")[2])
    kept = redact("".join(c if c.isprintable() else " " for c in kept[: WIDEST * 4]).rstrip())
    if _MARKS.fullmatch(kept):
        return None
    return Line(number, kept if len(kept) <= WIDEST else f"{kept[: WIDEST - 1]}…")
