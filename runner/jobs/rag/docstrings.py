"""The standard library of this Python, or packages beside it -> docstrings, each with its dotted name for a title."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .sources import Item
from .sources.listing import items
from .types import Problem

LEAST_WORDS = 5  # a shorter one says no more than its title
# of this environment, with long docstrings by many hands: graphs, language, numbers, science, statistics. Nothing of
# the pipeline was chosen by questions about them
PACKAGES = ("networkx", "nltk", "numpy", "scipy", "sklearn")
WITHOUT = {"test", "tests", "testing", "conftest"}
NEARLY = 0.8  # of the documents that are wanted: what is read for the last few takes longer than they are worth


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    title: str
    text: str
    module: str
    kind: str  # module, class or function


def documents(include: Sequence[str] | None = None, exclude: Sequence[str] | None = None) -> list[Document]:
    """Of the modules that a source `stdlib: true` with these globs has, by name. Of equal names the first."""
    source = {"stdlib": True, "include": list(include or ["*"]), "exclude": list(exclude or [])}
    listed = (item for item in items([source], Path()) if isinstance(item, Item))
    return _of_files((item.id.removeprefix("stdlib/"), item.file) for item in listed)


def packaged(most: int | None = None) -> list[Document]:
    """Of PACKAGES as they are installed, read and never imported: of all, or of whole subpackages by a digest of their
    names, until there are nearly as many documents. Raises Problem."""
    shelves = _subpackages()
    found: list[Document] = []
    for name in sorted(shelves, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if most is not None and len(found) > NEARLY * most:
            break
        more = _of_files(shelves[name])
        if most is None or len(found) + len(more) <= most:
            found += more
    return found


def _subpackages() -> dict[str, list[tuple[str, Path]]]:
    """`scipy.stats` -> dotted name and file of each of its modules."""
    found: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise Problem(f"questions about packages need {', '.join(PACKAGES)}, and {package} is not installed")
        root = Path(spec.submodule_search_locations[0])
        for file in sorted(root.rglob("*.py")):
            parts = (package, *file.relative_to(root).with_suffix("").parts)
            if not WITHOUT & set(parts):
                found[".".join(parts[:2])].append((".".join(parts).removesuffix(".__init__"), file))
    return found


def _of_files(files: Iterable[tuple[str, Path]]) -> list[Document]:
    found: dict[str, Document] = {}
    for name, file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # a template, or of another version
        for title, text, kind in _docstrings(tree, name):
            if len(text.split()) >= LEAST_WORDS:
                found.setdefault(title, Document(title, title, text, name, kind))
    return list(found.values())


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        if text:
            kind = {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function")
            yield name, text, kind
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        yield from _docstrings(child, f"{name}.{child.name}" if named else name)
