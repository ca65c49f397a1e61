"""Span, Diagnostic and their renderers: what is wrong, where, why, and how to mend it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runner.redact import redact

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A place in a source: 1-based `line` and `column`, and how many characters it covers.

    `file` is a path to a file, or a name in angle brackets for values that come from elsewhere
    (`<--set>`, `<smoke profile>`); line 0 means the source as a whole.
    """

    file: str
    line: int = 0
    column: int = 0
    width: int = 1

    @property
    def is_file(self) -> bool:
        return not self.file.startswith("<")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One cause, told once: `message` says what, `notes` say why, only `help` says how to mend it."""

    code: str
    message: str
    span: Span
    label: str = ""
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: Severity = "error"

    @property
    def is_error(self) -> bool:
        return self.severity == "error"


def sort_diagnostics(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By place, each told once."""
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (d.span.file, d.span.line, d.span.column, d.code, d.message))


class SourceLines:
    """Reads the lines that carets point into; each file once."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}

    def line(self, span: Span) -> str | None:
        """The text of the span's line, or None where there is none to show."""
        if not span.is_file or span.line < 1:
            return None
        if span.file not in self._files:
            try:
                text = Path(span.file).read_bytes().decode("utf-8-sig", "replace")
            except OSError:
                text = ""
            self._files[span.file] = text.split("\n")
        lines = self._files[span.file]
        return lines[span.line - 1].rstrip("\r") if span.line <= len(lines) else None


def shown_path(file: str, start: Path | None = None) -> str:
    """A file as a person would type it: relative to `start` (the working folder) where it lies below it."""
    if file.startswith("<"):
        return file
    try:
        return str(Path(file).resolve().relative_to((start or Path.cwd()).resolve()))
    except ValueError:
        return file


Style = Callable[[str, str], str]


def _plain(text: str, style: str) -> str:
    return text


def ansi(text: str, style: str) -> str:
    """`text` in an ANSI `style` out of error, warning, note, help, place."""
    code = {"error": "1;31", "warning": "1;33", "note": "1;36", "help": "1;32", "place": "1"}[style]
    return f"\x1b[{code}m{text}\x1b[0m"


def render_text(diagnostic: Diagnostic, sources: SourceLines, style: Style = _plain) -> str:
    """The block a person reads: head line, source line with a caret, notes, help."""
    d = without_secrets(diagnostic)
    place = shown_path(d.span.file)
    if d.span.line:
        place += f":{d.span.line}:{d.span.column}"
    out = [f"{style(place, 'place')}: {style(f'{d.severity}[{d.code}]', d.severity)}: {d.message}"]
    gutter = " " * len(str(d.span.line)) if d.span.line else " "
    source = sources.line(diagnostic.span)
    if source is not None:
        source = redact(source)
        # A line of a hostile file can be megabytes of control characters: show a window of it, made visible.
        start = max(0, d.span.column - 60) if len(source) > 160 else 0
        window = "".join(c if c.isprintable() else " " for c in source[start : start + 160])
        width = max(1, min(d.span.width, len(window) - (d.span.column - 1 - start)))
        caret = " " * (d.span.column - 1 - start) + style("^" * width, d.severity)
        out += [f"{gutter} |", f"{d.span.line} | {window}", f"{gutter} | {caret} {d.label}".rstrip()]
    elif d.label:
        out.append(f"{gutter} = {style('note', 'note')}: {d.label}")
    out += [f"{gutter} = {style('note', 'note')}: {note}" for note in d.notes]
    if d.help:
        out.append(f"{gutter} = {style('help', 'help')}: {d.help}")
    return "\n".join(out)


def without_secrets(d: Diagnostic) -> Diagnostic:
    """What is told goes to terminals and logs that others read."""
    span = d.span if d.span.is_file else replace(d.span, file=redact(d.span.file))
    notes = tuple(map(redact, d.notes))
    return replace(d, message=redact(d.message), span=span, label=redact(d.label), notes=notes, help=redact(d.help))


def to_json(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as plain data, with stable names."""
    d = without_secrets(diagnostic)
    return {
        "code": d.code,
        "severity": d.severity,
        "message": d.message,
        "file": shown_path(d.span.file),
        "line": d.span.line,
        "column": d.span.column,
        "width": d.span.width,
        "label": d.label,
        "notes": list(d.notes),
        "help": d.help,
    }


def render_json(diagnostics: Iterable[Diagnostic]) -> str:
    return json.dumps({"diagnostics": [to_json(d) for d in diagnostics]}, indent=1)


def render_github(diagnostic: Diagnostic) -> str:
    """A GitHub Actions workflow command, which the site shows as an annotation on the line."""

    d = without_secrets(diagnostic)

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def prop(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    body = "\n".join([d.message, *([d.label] if d.label else []), *d.notes, *([f"help: {d.help}"] if d.help else [])])
    line, start = max(1, d.span.line), max(1, d.span.column)
    at = f"file={prop(shown_path(d.span.file))},line={line},endLine={line}"
    at += f",col={start},endColumn={start + max(1, d.span.width)}"
    return f"::{d.severity} {at},title={prop(d.code)}::{data(body)}"
