"""The table of faults that runs survive, out of the tests that inject them: each says so by its mark `fault`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "pytest.mark.fault"


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` is done to a run, what is `kept` of it, and the test that does it: `tests/a/test_b.py::test_c`."""

    what: str
    kept: str
    test: str


def faults(tests: Path) -> list[Fault]:
    """Of all tests below a folder, in the order of their files and lines. Raises ValueError for a mark that is not two
    plain texts, or that stands on what is no test."""
    files = sorted(tests.rglob("test_*.py"))
    return [fault for file in files for fault in _of(file, file.relative_to(tests.parent).as_posix())]


def _of(file: Path, name: str) -> Iterator[Fault]:
    text = file.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)) if MARK in text else ():
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == MARK:
                said = [arg.value for arg in mark.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                if len(said) != 2 or not node.name.startswith("test_"):
                    raise ValueError(f"{name}:{mark.lineno}: `fault` takes two texts, on a test")
                yield Fault(said[0], said[1], f"{name}::{node.name}")


def table(tests: Path) -> str:
    found = faults(tests)
    rows = [f"| {fault.what} | {fault.kept} | {_link(fault.test)} |" for fault in found]
    return "\n".join(["| what is done to a run | what is left | test |", "|---|---|---|", *rows])


def _link(test: str) -> str:
    file, _, _ = test.partition("::")
    return f"[{Path(file).stem.removeprefix('test_')}]({file})"
