"""Markdown -> its text as it is, with a section for each heading."""

from __future__ import annotations

from functools import cache
from typing import Any

from . import Parsed, Section


@cache
def _reader() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark")


def parse(text: str) -> Parsed:
    marks = headings(text)
    first = [title for _, level, title in marks if level == 1]
    return Parsed(text, first[0] if first else "", nested(marks, len(text)))


def headings(text: str) -> list[tuple[int, int, str]]:
    """(character at which its line begins, level, title) of each, by CommonMark: none in code, those underlined too."""
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    tokens = _reader().parse(text)
    return [
        (lines[token.map[0]], int(token.tag[1:]), tokens[at + 1].content.strip())
        for at, token in enumerate(tokens)
        # those in a quotation or a list are no parts of the document
        if token.type == "heading_open" and token.map and token.level == 0
    ]


def nested(marks: list[tuple[int, int, str]], end: int) -> tuple[Section, ...]:
    """Headings -> sections, each with those of lower level in it, and headings as paths: `Guide > Install > Linux`."""
    if not marks:
        return ()
    before = (Section(0, marks[0][0], ""),) if marks[0][0] > 0 else ()
    return before + _below(marks, end, ())


def _below(marks: list[tuple[int, int, str]], end: int, path: tuple[str, ...]) -> tuple[Section, ...]:
    found = []
    at = 0
    while at < len(marks):
        start, level, title = marks[at]
        after = next((n for n in range(at + 1, len(marks)) if marks[n][1] <= level), len(marks))
        stop = marks[after][0] if after < len(marks) else end
        here = (*path, title) if title else path
        inner = marks[at + 1 : after]
        own = inner[0][0] if inner else stop
        parts = (Section(start, own, " > ".join(here)), *_below(inner, stop, here)) if inner else ()
        found.append(Section(start, stop, " > ".join(here), parts))
        at = after
    return tuple(found)
