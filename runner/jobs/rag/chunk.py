"""Read -> passages of so many tokens, whose text is exactly text[start:end] of their document, parents among them."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Tokenizer

from .chains import framework
from .sources import Read, Section
from .types import Document, Passage, as_searched

# a word that is longer than any model's is one token, however long: a passage is cut there all the same
CHARACTERS_PER_TOKEN = 16
LEAST_TOKENS = 16
HEADING_MOST = 200  # characters
# where a text is best cut, first the best: between paragraphs, sentences, lines, words
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
SENTENCE = re.compile(r"(?:(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[^\sa-z])|(?<=[\u3002\uff01\uff1f])\s*)")
LINE = re.compile(r"\n\s*")
WORD = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Cutting:
    """The recipe's `chunking`. `room`: tokens that the embedding model takes, its own taken off."""

    splitter: str
    chunk_size: int
    chunk_overlap: int
    parent_size: int | None
    room: int
    framework: str = ""  # whose splitter cuts what doesn't fit; ours where empty


def cutting(chunking: dict[str, Any], room: int) -> Cutting:
    size = int(chunking.get("chunk_size") or 256)
    overlap = min(int(chunking.get("chunk_overlap") or 0), size // 2)
    framework = chunking.get("framework") or ""
    return Cutting(chunking.get("splitter") or "auto", size, overlap, chunking.get("parent_size"), room, framework)


class _Text:
    """A document's text with the places of its tokens, and where it may be cut."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.text = text
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        # some tokenizers give several tokens the place of one character
        self.starts = [start for start, _ in offsets]
        self.lines = [m.start() for m in re.finditer("\n", text)]
        self.cuts = [[m.end() for m in kind.finditer(text)] for kind in (PARAGRAPH, SENTENCE, LINE, WORD)]

    def tokens(self, start: int, end: int) -> int:
        return bisect_left(self.starts, end) - bisect_left(self.starts, start)

    def after(self, start: int, tokens: int, end: int) -> int:
        """The furthest place that leaves no more than so many tokens behind."""
        at = bisect_left(self.starts, start) + tokens
        most = start + tokens * CHARACTERS_PER_TOKEN
        return min(end, most, self.starts[at] if at < len(self.starts) else end)

    def line(self, at: int) -> int:
        return 1 + bisect_left(self.lines, at)


def cut(read: Read, how: Cutting, tokenizer: Tokenizer) -> tuple[tuple[Passage, ...], tuple[Passage, ...]]:
    """Passages that are searched, and the parents that they were cut from."""
    document = read.document
    text = _Text(document.text, tokenizer)
    plain = how.splitter in ("sentence", "window")
    sections = (Section(0, len(document.text), ""),) if plain or not read.sections else read.sections
    named = _headings(read.sections)

    def encode(words: str) -> list[int]:
        ids: list[int] = tokenizer.encode(words, add_special_tokens=False).ids
        return ids

    def pieces(spans: tuple[Section, ...], size: int, overlap: int, searched: bool) -> list[tuple[int, int, str]]:
        found = []
        for start, end, heading in _fitting(text, spans, size):
            heading = heading or _heading_at(named, start)
            least = min(size, LEAST_TOKENS)
            # what is embedded with the passage, the names of where it stands, takes of the same room
            names = as_searched(document.title, heading, "")
            room = how.room - len(tokenizer.encode(names, add_special_tokens=False).ids) if searched else size
            most = max(least, min(size, room))
            if how.framework:
                places = framework(how.framework).split(text.text[start:end], most, min(overlap, most // 2), encode)
                found += [(start + s, start + e, heading) for s, e in places]
                continue
            found += [(s, e, heading) for s, e in _split(text, start, end, most, overlap, how.splitter == "window")]
        return found

    if not how.parent_size:
        cuts = pieces(sections, how.chunk_size, how.chunk_overlap, True)
        return tuple(_passage(document, text, n, *place) for n, place in enumerate(cuts)), ()
    parents, children = [], []
    for n, place in enumerate(pieces(sections, how.parent_size, 0, False)):
        parent = _passage(document, text, n, *place, level="parent")
        parents.append(parent)
        inside = (Section(parent.start, parent.end, parent.heading),)
        for child in pieces(_within(sections, parent) or inside, how.chunk_size, how.chunk_overlap, True):
            made = _passage(document, text, len(children), *child)
            children.append(replace(made, parent=parent.id))
    return tuple(children), tuple(parents)


def _fitting(text: _Text, sections: tuple[Section, ...], size: int) -> list[tuple[int, int, str]]:
    """Sections that fit are whole; of one that doesn't, its parts."""
    found = []
    for section in sections:
        if section.parts and text.tokens(section.start, section.end) > size:
            found += _fitting(text, section.parts, size)
        else:
            found.append((section.start, section.end, section.heading))
    return found


def _within(sections: tuple[Section, ...], parent: Passage) -> tuple[Section, ...]:
    """The parts of sections that lie in a parent, cut off at its ends."""
    found = []
    for section in sections:
        start, end = max(section.start, parent.start), min(section.end, parent.end)
        if start < end:
            found.append(Section(start, end, section.heading, _within(section.parts, parent)))
    return tuple(found)


def _split(text: _Text, start: int, end: int, size: int, overlap: int, window: bool) -> list[tuple[int, int]]:
    """[start, end) -> places of at most `size` tokens, each beginning up to `overlap` before the end of the last."""
    found = []
    overlap = min(overlap, size // 2)
    at, last = start, start
    while at < end:
        furthest = text.after(at, size, end)
        stop = end if furthest >= end else _best(text, max(last, text.after(at, size // 2, end)), furthest, window)
        stripped = _stripped(text.text, at, stop)
        if stripped:
            found.append(stripped)
        if stop >= end:
            break
        last = stop
        at = _again(text, at, stop, overlap) if overlap else stop
    return found


def _best(text: _Text, above: int, most: int, window: bool) -> int:
    """Where to cut in (above, most]: the last place of the best kind there is. Windows end between words."""
    for kind in text.cuts[3:] if window else text.cuts:
        at = bisect_right(kind, most) - 1
        if at >= 0 and kind[at] > above:
            return kind[at]
    return most


def _again(text: _Text, start: int, stop: int, overlap: int) -> int:
    """Where the next one begins: at a sentence or line, or a word, no more than `overlap` tokens before `stop`."""
    tokens = bisect_left(text.starts, stop) - overlap
    low = max(start + 1, text.starts[tokens] if tokens >= 0 else start + 1, stop - overlap * CHARACTERS_PER_TOKEN)
    for kind in (text.cuts[1], text.cuts[2], text.cuts[3]):
        at = bisect_left(kind, low)
        if at < len(kind) and kind[at] < stop:
            return kind[at]
    return stop


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return (start + left, start + len(piece.rstrip())) if left < len(piece) else None


def _passage(
    document: Document, text: _Text, ordinal: int, start: int, end: int, heading: str, level: str = ""
) -> Passage:
    words = document.text[start:end]
    place = f"{document.id}\0{start}\0{end}\0{level}\0{words}"
    page = bisect_right(document.pages, start) if document.pages else None
    return Passage(
        id=hashlib.sha256(place.encode()).hexdigest()[:24],
        document=document.id,
        ordinal=ordinal,
        text=words,
        start=start,
        end=end,
        start_line=text.line(start),
        end_line=text.line(end - 1),
        tokens=text.tokens(start, end),
        page=page,
        heading=heading[:HEADING_MOST],
        meta=document.meta,
    )


def _headings(sections: tuple[Section, ...]) -> tuple[list[int], list[str]]:
    """Where each begins, the innermost of those that begin at a place."""
    found: dict[int, str] = {}
    for section in sections:
        found[section.start] = section.heading
        found.update(zip(*_headings(section.parts), strict=True))
    return sorted(found), [found[start] for start in sorted(found)]


def _heading_at(named: tuple[list[int], list[str]], at: int) -> str:
    starts, headings = named
    before = bisect_right(starts, at) - 1
    return headings[before] if before >= 0 else ""
