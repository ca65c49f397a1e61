"""A file -> Source: its text as YAML 1.2, every key once; refuses what is no text, no YAML, or no mapping."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.importing.dump import dump
from runner.importing.places import Change, changed, extents, is_block, mappings, nodes_of, prefixed
from runner.importing.types import Row, Source
from runner.importing.yaml11 import mended
from runner.recipe.load import MAX_BYTES, Refused, parse, printable

_DIRECTIVE = re.compile(r"^%[^\n]*(?:\n|\Z)", re.MULTILINE)
_BEGIN = re.compile(r"^---[ \t]*(?=\n|\Z|#)\n?", re.MULTILINE)
_JSON = re.compile(r"\s*[\[{]")


def read(file: Path) -> Source:
    """Raises Refused (R808, R809)."""
    text = _text(file)
    rows: list[Row] = []
    if _JSON.match(text) and (given := _from_json(text)) is not None:
        text = dump(given)
        rows.append(Row("(the file)", "YAML", "it was JSON"))
    text = _without_marks(text)
    text, found = _without_repeats(text, str(file))
    doc = _parsed(text, str(file))
    if not is_block(nodes_of(text)):
        rows.append(Row("(the file)", "one key to a line", "its keys stood in braces"))
        text = dump(_parsed(mended(text, {})[0], str(file)).plain())
        doc = _parsed(text, str(file))
    return Source(file, text, doc, tuple(rows), tuple(found))


def _text(file: Path) -> str:
    def refused(message: str, at: Span | None = None, help: str = "") -> Refused:
        return Refused(Diagnostic("R808", message, at or Span(str(file)), help=help))

    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise refused(f"can't read the config: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MAX_BYTES:
        raise refused(f"the file is larger than a recipe may be ({MAX_BYTES // 1024} KiB)")
    if b"\x00" in raw:
        raise refused("the file is binary, not YAML text")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise refused("the file is not UTF-8 text", Span(str(file), line, column), "save it as UTF-8") from None


def _from_json(text: str) -> Any:
    """None where it is no JSON after all, or JSON that repeats a key, of which YAML's reader tells the place."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None


def _without_marks(text: str) -> str:
    """Without `%YAML` and the `---` before the first key: a recipe is one document of YAML 1.2."""
    text = _DIRECTIVE.sub("", text, count=1) if text.lstrip().startswith("%") else text
    begin = _BEGIN.search(text)
    if begin and all(not line.strip() or line.startswith("#") for line in text[: begin.start()].split("\n")):
        text = text[: begin.start()] + text[begin.end() :]
    return text


def _parsed(text: str, file: str) -> Any:
    try:
        return parse(text, file, "imported")
    except Refused as refused:
        raise Refused(*(replace(d, code="R809", help=_help(d)) for d in refused.diagnostics)) from None


def _help(told: Diagnostic) -> str:
    return "there is nothing to import" if "is empty" in told.message else told.help


def _without_repeats(text: str, file: str) -> tuple[str, list[Diagnostic]]:
    """PyYAML keeps the last of equal keys: the others are put into comments."""
    try:
        parse(text, file, "imported")
        return text, []
    except Refused as refused:
        if {d.code for d in refused.diagnostics} != {"R005"}:
            return text, []  # told when it is read
    root = nodes_of(text)
    changes: list[Change] = []
    found = []
    for mapping in mappings(root):
        last = {str(key.value): i for i, (key, _) in enumerate(mapping.value)}
        spread = extents(text, mapping) if mapping is root and is_block(root) else None
        for i, (key, _) in enumerate(mapping.value):
            kept = last[str(key.value)]
            if i != kept and str(key.value) != "<<":
                behind = mapping.value[i + 1][0].start_mark.index
                start = key.start_mark.index
                changes.append(prefixed(text, *spread[i][2:], "# ") if spread else (start, behind, ""))
                found.append(_repeated(key, mapping.value[kept][0], file))
    return changed(text, changes), found


def _repeated(key: Any, kept: Any, file: str) -> Diagnostic:
    name = printable(str(key.value))
    return Diagnostic(
        "R811",
        f"key `{name}` is given twice",
        Span(file, key.start_mark.line + 1, key.start_mark.column + 1, len(name)),
        label=f"line {kept.start_mark.line + 1} counts",
        notes=("PyYAML keeps the last one without a word, and so does the recipe",),
        severity="warning",
    )
