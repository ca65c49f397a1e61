"""Item -> Read, or None where the index has it already; raises Unreadable, which sets it aside."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ..types import Document
from . import Item, Parsed, Read, Unreadable, code, html, markdown, pdf, stdlib
from .listing import row_of

MOST_BYTES = 256 << 20
NAME_MOST = 200  # characters of a title
MIMES = {
    "markdown": "text/markdown",
    "html": "text/html",
    "pdf": "application/pdf",
    "code": "text/x-source",
    "jsonl": "application/json",
    "stdlib": "text/x-python-docstrings",
    "text": "text/plain",
    "unknown": "text/plain",
}


def read(item: Item, splitter: str = "auto") -> Read | None:
    data = item.line if item.line is not None else _bytes(item.file)
    digest = _digest(data, item)
    if digest == item.known:
        return None
    parsed = _parse(data, item, splitter)
    text = parsed.text
    if not text.strip():
        raise Unreadable("nothing in it to read")
    # a row without a title has none: its number says nothing of what is in it
    named = parsed.title or ("" if item.line is not None else Path(item.uri).stem)
    title = clean(" ".join(named.split()))[:NAME_MOST]
    # what a filter can ask for, beside what the recipe and the document itself say
    meta = {"uri": item.uri, "format": item.format, **parsed.meta, **item.meta}
    document = Document(item.id, item.uri, title, digest, MIMES[item.format], text, meta, parsed.pages)
    return Read(document, parsed.sections)


def clean(text: str) -> str:
    """Characters that no database takes become the sign for an unknown one, so that every place stays what it was."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise Unreadable(f"larger than {MOST_BYTES >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error


def _digest(data: bytes, item: Item) -> str:
    """Of the bytes; and of what else the recipe says about them, where it says anything."""
    digest = hashlib.sha256(data)
    said = {"meta": item.meta, "fields": item.fields} if item.meta or item.line is not None else {}
    if said:
        digest.update(json.dumps({**said, "format": item.format}, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _parse(data: bytes, item: Item, splitter: str) -> Parsed:
    if item.format == "pdf":
        parsed = pdf.parse(data)
    elif item.format == "jsonl":
        return _row(item)
    elif item.format == "stdlib":
        parsed = stdlib.parse(data, item.id.removeprefix("stdlib/"))
    else:
        parsed = _text(_decoded(data), item, splitter)
    cleaned = clean(parsed.text)
    return Parsed(cleaned, clean(parsed.title), parsed.sections, parsed.pages, parsed.meta)


def _text(text: str, item: Item, splitter: str) -> Parsed:
    text = clean(text)
    if item.format == "html":
        return html.parse(text)
    if item.format == "markdown" or splitter == "markdown":
        return markdown.parse(text)
    if item.format == "code" or splitter == "code":
        return code.parse(text, ".py" if splitter == "code" and item.format != "code" else item.file.suffix.lower())
    return Parsed(text)


def _decoded(data: bytes) -> str:
    """Lines end with a line feed alone, as everything that counts lines has them. Raises Unreadable."""
    if b"\x00" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("not text, and of no format that is read")
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not in UTF-8: {error.reason} at byte {error.start}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _row(item: Item) -> Parsed:
    row = row_of(item)
    text = row.get(item.fields["text"])
    if not isinstance(text, str):
        raise Unreadable(f"no text in its field {item.fields['text']!r}")
    title = row.get(item.fields["title"])
    if not text.strip() and isinstance(title, str):
        text = title  # papers without an abstract, in some of BEIR's sets
    own: Any = row.get("metadata")
    given = own.items() if isinstance(own, dict) else ()
    meta = {clean(str(key)): clean(value) if isinstance(value, str) else value for key, value in given}
    whole = clean(text).replace("\r\n", "\n").replace("\r", "\n")
    return Parsed(whole, title if isinstance(title, str) else "", meta=meta)
