"""Cases in, one line each out; an exception of a validator -> what it said, and about which keys."""

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LONGEST = 600
_PLACE = re.compile(r"^(?:Value error|Assertion error), ")


def problem(by: str, said: str, keys: list[str] | None = None, *, dropped: bool = False) -> dict[str, Any]:
    return {"by": by, "said": " ".join(said.split())[:LONGEST], "keys": keys or [], "dropped": dropped}


def problems_of(by: str, error: Exception, known: list[str]) -> list[dict[str, Any]]:
    """What an exception says; of pydantic's each of its errors. `known` are keys that it may be about."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        kind = "" if isinstance(error, (ValueError, NotImplementedError)) else f"{type(error).__name__}: "
        return [problem(by, f"{kind}{error}", named(str(error), known))]
    found: dict[str, dict[str, Any]] = {}
    for each in listed():
        said = _PLACE.sub("", str(each["msg"]))
        place = ".".join(str(part) for part in each.get("loc", ()))
        first = place.split(".")[0]
        # of a union pydantic tells once for each of its members what is wrong
        found.setdefault(
            first or said, problem(by, said, [place, *named(said, known)] if place else named(said, known))
        )
    return list(found.values())


def named(said: str, known: list[str]) -> list[str]:
    """Those of `known` that are named, in the order in which they come."""
    words = re.findall(r"[A-Za-z_][\w.]*", said.replace("-", "_"))
    return list(dict.fromkeys(w.strip("._") for w in words if w.strip("._") in known))


def given_cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return found


def say(case: dict[str, Any], problems: list[dict[str, Any]], assumed: list[str] | None = None) -> None:
    answer = {"name": case["name"], "problems": problems, "assumed": assumed or []}
    print("ACCEPT " + json.dumps(answer), file=sys.__stdout__, flush=True)


@contextlib.contextmanager
def written(case: dict[str, Any]) -> Iterator[Path]:
    """A folder with the case's files, and the current one meanwhile: configs name each other by relative paths."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="accept-") as made:
        folder = Path(made)
        for name, text in case["files"].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def answer_all(check: Callable[[dict[str, Any], Path], tuple[list[dict[str, Any]], list[str]]]) -> None:
    for case in given_cases():
        with written(case) as folder:
            problems, assumed = check(case, folder)
        say(case, problems, assumed)
