"""Source code -> its text as it is, Python with a section for each class and function."""

from __future__ import annotations

import ast

from . import Parsed, Section

_HOLDERS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def parse(text: str, suffix: str) -> Parsed:
    return Parsed(text, sections=python(text) if suffix in (".py", ".pyi") else ())


def python(text: str) -> tuple[Section, ...]:
    """Empty where Python can't read it: it is text all the same."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    lines = [0]
    for line in text.split("\n"):
        lines.append(lines[-1] + len(line) + 1)
    lines[-1] = len(text)
    return _parts(tree, 0, len(text), "", lines)


def _parts(node: ast.AST, start: int, end: int, path: str, lines: list[int]) -> tuple[Section, ...]:
    """All of [start, end): what stands between two definitions, comments as a rule, goes with the one that follows."""
    found: list[Section] = []
    at = start
    held = [child for child in getattr(node, "body", []) if isinstance(child, _HOLDERS)]
    others = [child for child in getattr(node, "body", []) if not isinstance(child, _HOLDERS)]
    for child in held:
        name = f"{path}.{child.name}".lstrip(".")
        stop = min(end, lines[child.end_lineno or child.lineno])
        before = [lines[other.end_lineno or other.lineno] for other in others if other.lineno < child.lineno]
        begin = max([at, *(b for b in before if b <= stop)])
        if text_before := begin > at:
            found.append(Section(at, begin, path))
        at = begin if text_before else at
        inner = _parts(child, at, stop, name, lines) if isinstance(child, ast.ClassDef) else ()
        found.append(Section(at, stop, name, inner if len(inner) > 1 else ()))
        at = stop
    if at < end:
        found.append(Section(at, end, path))
    return tuple(section for section in found if section.start < section.end)
