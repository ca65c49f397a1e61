"""`model_code`: the Python file with a model class of the user's own. It is read as text here, and never imported."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# code that somebody wrote by hand is far smaller
MOST_BYTES = 1 << 20


def code_file(code: Mapping[str, Any], root: Path | None) -> Path:
    """Relative to the project, as other files of a recipe."""
    return (root or Path()) / str(code["file"])


def read_code(file: Path) -> str:
    """Raises OSError, and ValueError for what is no text of a sensible size."""
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    return file.read_text(encoding="utf-8")


def classes_of(text: str) -> dict[str, dict[str, Any]]:
    """Top-level classes, each with the plain values that its body gives names. Raises SyntaxError."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = dict(_plain(node))
    return found


def _plain(node: ast.ClassDef) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for line in node.body:
        if not isinstance(line, (ast.Assign, ast.AnnAssign)) or not isinstance(line.value, ast.Constant):
            continue
        targets = line.targets if isinstance(line, ast.Assign) else [line.target]
        found += [(target.id, line.value.value) for target in targets if isinstance(target, ast.Name)]
    return found
