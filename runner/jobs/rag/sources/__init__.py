"""What is read: an Item names a document before it is read, a Read is one with its parts; Unreadable sets it aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..types import Document


class Unreadable(Exception):
    """Why a document is set aside, in a few words; the rest goes in."""


@dataclass(frozen=True, slots=True)
class Section:
    """Characters [start, end) of a document under a heading; its parts lie in it, in order."""

    start: int
    end: int
    heading: str
    parts: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A document that is there. `known` is the hash under which the index has it; it is not read again while equal."""

    id: str
    uri: str
    format: str
    file: Path
    # of a line of JSONL, its bytes; else the file is read
    line: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    known: str = ""


@dataclass(frozen=True, slots=True)
class Aside:
    """What could not be listed. `hides`: nobody knows which documents are in it, so none may be taken for deleted."""

    uri: str
    reason: str
    hides: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    document: Document
    # in order and apart from each other, all of the text; empty where it has no structure
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a format makes of bytes. `meta` is the document's own."""

    text: str
    title: str = ""
    sections: tuple[Section, ...] = ()
    pages: tuple[int, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
