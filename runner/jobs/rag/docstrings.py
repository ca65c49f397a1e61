"""The standard library of this Python -> its docstrings, each a document with its dotted name for a title."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WITHOUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}
LEAST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    title: str
    text: str
    module: str


def documents() -> list[Document]:
    """Of every module of this Python, by name."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [f for f in root.rglob("*.py") if not WITHOUT & set(f.relative_to(root).parts) and not f.is_symlink()]
    found = []
    for file in sorted(files, key=lambda f: f.relative_to(root).as_posix()):
        name = file.relative_to(root).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # a template, or of another version
        for title, text in _docstrings(tree, name):
            # of two equal names (overloads, branches) the first; a title alone says no more than the title
            if len(text.split()) >= LEAST_WORDS:
                found.append(Document(title, title, text, name))
    return list({each.id: each for each in reversed(found)}.values())[::-1]


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        if text:
            yield name, text
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _docstrings(child, f"{name}.{child.name}" if named else name)
