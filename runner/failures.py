"""A log, an exit code and what else is known of an end -> which known failure it was, and the line that says so."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.read import read_facts
from runner.project import shipped

# What is known of an end besides its log: the kernel ended a process of ours for memory; a number of the metrics is
# none; there was no step for long; somebody asked to stop.
EVIDENCE = ("oom_kill", "not_finite", "loss_spike", "hung", "interrupted")
# of a log's end: an engine of many ranks repeats its error in each
TAIL = 256 * 1024
_KNOWN = {
    "name", "title", "patterns", "cause", "knob", "retry", "rank", "exit_codes", "evidence", "plan", "produced",
    "source", "excerpt",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """One file of data/failures. `rank` 1 is a cause, 2 what a cause elsewhere leads to (a collective that waits for a
    dead rank), 3 no more than how a process ended. `retry`: the same run may do better a second time. `plan` is what
    ran short, as a plan knows it: `gpu`, `host` or `disk`. An `excerpt` is of a log that we produced, or, where
    `produced` is false, as the public `source` has it."""

    name: str
    title: str
    patterns: tuple[re.Pattern[str], ...]
    cause: str
    knob: str
    retry: bool
    excerpt: str
    rank: int = 1
    exit_codes: tuple[int, ...] = ()
    evidence: tuple[str, ...] = ()
    plan: str = ""
    produced: bool = True
    source: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A failure, and where the text says it: a 0-based line of the text that was searched, None where other evidence
    says it."""

    failure: Failure
    line: int | None = None
    said: str = ""


def diagnose(log_text: str, *, exit_code: int | None = None, evidence: Collection[str] = ()) -> Failure | None:
    """Which known failure ended a run; None where it is none that we know.

    `log_text` is of this attempt alone. `exit_code` is negative for a signal, as subprocess has it, or 128 and the
    signal, as a shell has it. `evidence` is out of `EVIDENCE`.
    """
    found = find(log_text, exit_code=exit_code, evidence=evidence)
    return found.failure if found is not None else None


def find(log_text: str, *, exit_code: int | None = None, evidence: Collection[str] = ()) -> Found | None:
    """The same, with the line. A cause goes before what follows from it; of two equal ones the later counts, which
    came up last in a chain of exceptions or is of the last attempt; the log goes before other evidence."""
    text, skipped = _tail(log_text)
    best: tuple[tuple[int, int, int], Found] | None = None
    for failure in failures():
        at = _last_match(failure, text)
        if at < 0 and not _told_otherwise(failure, exit_code, evidence):
            continue
        order = (-failure.rank, int(at >= 0), at)
        if best is None or order > best[0]:
            best = order, _found(failure, text, at, skipped)
    return best[1] if best is not None else None


@cache
def failures() -> tuple[Failure, ...]:
    """Every one in data/failures, by name. Raises ValueError where a file is no failure."""
    return tuple(read_failure(file) for file in sorted(shipped("data").joinpath("failures").glob("*.yaml")))


def by_name(name: str) -> Failure | None:
    return next((failure for failure in failures() if failure.name == name), None)


def read_failure(file: Path) -> Failure:
    told: dict[str, Any] = read_facts(file)
    wrong = [f"unknown key `{key}`" for key in sorted(told.keys() - _KNOWN)]
    wrong += [f"no `{key}`" for key in ("title", "cause", "knob", "retry", "excerpt") if key not in told]
    wrong += [f"unknown evidence `{each}`" for each in told.get("evidence", ()) if each not in EVIDENCE]
    wrong += [] if told.get("name") == file.stem else ["`name` is not the file's"]
    wrong += [] if told.get("produced", True) or told.get("source") else ["no `source` of what we did not produce"]
    if wrong:
        raise ValueError(f"{file.name}: {', '.join(wrong)}")
    title, cause, knob = (" ".join(told[key].split()) for key in ("title", "cause", "knob"))
    return Failure(
        name=file.stem,
        title=title,
        patterns=tuple(re.compile(pattern, re.MULTILINE) for pattern in told.get("patterns", ())),
        cause=cause,
        knob=knob,
        retry=told["retry"],
        excerpt=told["excerpt"],
        rank=told.get("rank", 1),
        exit_codes=tuple(told.get("exit_codes", ())),
        evidence=tuple(told.get("evidence", ())),
        plan=told.get("plan", ""),
        produced=told.get("produced", True),
        source=told.get("source", ""),
    )


def _tail(text: str) -> tuple[str, int]:
    """The text's end in whole lines, and how many lines stand before it."""
    start = max(0, len(text) - TAIL)
    start = text.find("\n", start) + 1 if start else 0
    return text[start:], text.count("\n", 0, start)


def _last_match(failure: Failure, text: str) -> int:
    return max((m.start() for pattern in failure.patterns for m in pattern.finditer(text)), default=-1)


def _told_otherwise(failure: Failure, exit_code: int | None, evidence: Collection[str]) -> bool:
    return exit_code in failure.exit_codes or any(each in evidence for each in failure.evidence)


def _found(failure: Failure, text: str, at: int, skipped: int) -> Found:
    if at < 0:
        return Found(failure)
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return Found(failure, skipped + text.count("\n", 0, at), text[start : end if end >= 0 else None].strip())
