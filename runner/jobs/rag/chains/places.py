"""Pieces that a splitter made of a text -> their places [start, end) in it; refuses pieces that are not in the text."""

from __future__ import annotations

from collections.abc import Iterable

from ..types import Problem


def places(text: str, pieces: Iterable[str]) -> list[tuple[int, int]]:
    """In order; pieces may overlap. Blank ones are left out."""
    found: list[tuple[int, int]] = []
    after = 0
    for piece in pieces:
        words = piece.strip()
        if not words:
            continue
        start = text.find(words, after)
        if start < 0:
            raise Problem("the splitter has changed the text, so that its pieces can't be found in it")
        found.append((start, start + len(words)))
        after = start + 1
    return found
