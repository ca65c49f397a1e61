"""What an import starts from and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.recipe.document import Document

# in the table, for what a person must decide
BY_HAND = "(by hand)"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: their key, what it became (nothing where it was dropped), and why."""

    theirs: str
    ours: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A config as read: its text in YAML 1.2 with every key once, and what had to be changed for that."""

    file: Path
    text: str
    doc: Document
    rows: tuple[Row, ...] = ()
    found: tuple[Diagnostic, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        return self.doc.plain()

    def span(self, key: str) -> Span:
        """The place of a top-level key."""
        node = self.doc.keys.get(key)
        return node.key if node is not None else Span(str(self.file))


@dataclass(frozen=True, slots=True)
class Imported:
    """The text of a recipe, its kind, and what a person should know: `rows` for the table, `found` about the source."""

    tool: str
    kind: str
    text: str
    rows: tuple[Row, ...] = ()
    found: tuple[Diagnostic, ...] = ()


@dataclass(slots=True)
class Draft:
    """A recipe while another tool's keys are translated into it."""

    source: Source
    values: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    found: list[Diagnostic] = field(default_factory=list)

    def get(self, key: str, default: Any = None) -> Any:
        """Their value; `default` where it is absent or null."""
        value = self.source.values.get(key)
        return default if value is None else value

    def put(self, key: str, values: Mapping[str, Any], why: str = "") -> None:
        """Their `key` became these of our keys."""
        self.values |= values
        self.rows.append(Row(key, ", ".join(values), why))

    def drop(self, key: str, why: str) -> None:
        self.rows.append(Row(key, "", why))

    def by_hand(self, key: str, why: str, help: str = "") -> None:
        """Their `key` changes what is trained, and has no counterpart."""
        self.rows.append(Row(key, BY_HAND, why))
        self.found.append(
            Diagnostic("R813", f"`{key}` could not be translated", self.source.span(key), label=why, help=help)
        )
