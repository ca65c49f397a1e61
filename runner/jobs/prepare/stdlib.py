"""The Python standard library as documents: every module, and every docstring apart from the module it is cut from.

A docstring left in its module as well would be learned in training and met again in validation.
"""

import ast
import io
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# tests and what is generated or kept for 2to3 is of another kind than what people read the library for
WITHOUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}
_HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def modules() -> list[tuple[str, Path]]:
    """Name and file of each module, by name: the same on every machine with this Python."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [(str(f.relative_to(root)), f) for f in root.rglob("*.py") if not WITHOUT & set(f.relative_to(root).parts)]
    # what a distribution adds of its own (sitecustomize) is a link out of the library
    return sorted((name, file) for name, file in found if not file.is_symlink())


def version() -> str:
    return f"Python {platform.python_version()}"


def documents(name: str, file: Path) -> Iterator[tuple[str, str]]:
    """Id and text of the module without its docstrings, then of each docstring, in the order of the file."""
    # lines as `ast` counts them: a form feed ends none
    source = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        yield name, source  # a template, or of another version: text all the same
        return
    lines = io.StringIO(source, newline="\n").readlines()
    docs: list[tuple[str, str]] = []
    gone: set[int] = set()
    for holder, path in _holders(tree, ""):
        found = _docstring(holder, lines)
        if found is not None:
            docs.append((f"{name}#{path}" if path else f"{name}#", found))
            gone |= set(range(holder.body[0].lineno - 1, holder.body[0].end_lineno))
            if len(holder.body) == 1 and not isinstance(holder, ast.Module):
                first = holder.body[0].lineno - 1
                lines[first] = " " * holder.body[0].col_offset + "pass\n"
                gone.discard(first)
    yield name, "".join(line for i, line in enumerate(lines) if i not in gone)
    yield from docs


def _holders(node: ast.AST, path: str) -> Iterator[tuple[ast.AST, str]]:
    if isinstance(node, _HOLDERS):
        yield node, path
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, _HOLDERS[1:])
        yield from _holders(child, f"{path}.{child.name}".lstrip(".") if named else path)


def _docstring(holder: ast.AST, lines: list[str]) -> str | None:
    """The docstring, where it stands on lines of its own and can be cut out."""
    text = ast.get_docstring(holder)
    if not text or not text.strip():
        return None
    node = holder.body[0]
    before = lines[node.lineno - 1].encode()[: node.col_offset].strip()
    after = lines[node.end_lineno - 1].encode()[node.end_col_offset :].strip()
    return None if before or after else text
