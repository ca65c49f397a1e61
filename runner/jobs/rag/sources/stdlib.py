"""A module of the running Python's standard library -> its docstrings, read from the source and never imported."""

from __future__ import annotations

import ast
import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from . import Parsed, Section, Unreadable

# tests, and what is generated or kept for 2to3
WITHOUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}
_HOLDERS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def modules() -> list[tuple[str, Path]]:
    """Dotted name and file of each, by name."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).with_suffix("").parts
        # a link out of the library is what a distribution added (sitecustomize)
        if not WITHOUT & set(parts) and not file.is_symlink() and all(part.isidentifier() for part in parts):
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), file))
    return sorted(found)


def parse(data: bytes, name: str) -> Parsed:
    """Each docstring below its signature; one without a docstring has no section. Raises Unreadable."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError) as error:
        raise Unreadable(f"not read as Python: {error}") from error
    text, sections = "", []
    for heading, signature, docstring in _docstrings(tree, name):
        part = f"{signature}\n\n{inspect.cleandoc(docstring)}\n\n"
        sections.append(Section(len(text), len(text) + len(part), heading))
        text += part
    if not text:
        raise Unreadable("no docstrings")
    return Parsed(text, name, tuple(sections))


def _docstrings(tree: ast.Module, name: str) -> Iterator[tuple[str, str, str]]:
    """Qualified name, signature, docstring, in the order of the file."""
    if (found := ast.get_docstring(tree)) and found.strip():
        yield name, f"module {name}", found
    stack: list[tuple[ast.AST, str]] = [(node, name) for node in reversed(list(ast.iter_child_nodes(tree)))]
    while stack:
        node, path = stack.pop()
        if isinstance(node, _HOLDERS):
            path = f"{path}.{node.name}"
            if (found := ast.get_docstring(node)) and found.strip():
                yield path, _signature(node, path), found
        stack += [(child, path) for child in reversed(list(ast.iter_child_nodes(node)))]


def _signature(node: ast.AST, path: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {path}({bases})" if bases else f"class {path}"
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return f"{path}({ast.unparse(node.args)})"
