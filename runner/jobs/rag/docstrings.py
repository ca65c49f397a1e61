"""The standard library of this Python -> its docstrings, each a document with its dotted name for a title."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .sources import Item
from .sources.listing import items

LEAST_WORDS = 5  # a shorter one says no more than its title


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    title: str
    text: str
    module: str


def documents(include: Sequence[str] | None = None, exclude: Sequence[str] | None = None) -> list[Document]:
    """Of the modules that a source `stdlib: true` with these globs has, by name. Of equal names the first."""
    source = {"stdlib": True, "include": list(include or ["*"]), "exclude": list(exclude or [])}
    found: dict[str, Document] = {}
    for item in items([source], Path()):
        if not isinstance(item, Item):
            continue
        name = item.id.removeprefix("stdlib/")
        try:
            tree = ast.parse(item.file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # a template, or of another version
        for title, text in _docstrings(tree, name):
            if len(text.split()) >= LEAST_WORDS:
                found.setdefault(title, Document(title, title, text, name))
    return list(found.values())


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        if text:
            yield name, text
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _docstrings(child, f"{name}.{child.name}" if named else name)
