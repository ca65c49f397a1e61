"""The long form of every diagnostic code that is not a rule's own: what `runner explain CODE` prints."""

from __future__ import annotations

from functools import cache

from runner.facts.read import read_facts
from runner.project import shipped


@cache
def codes() -> dict[str, tuple[str, str]]:
    """Code -> (title, explanation), from data/codes, one file per theme. Raises ValueError where two files tell one."""
    found: dict[str, tuple[str, str]] = {}
    for file in sorted(shipped("data").joinpath("codes").glob("*.yaml")):
        for code, told in read_facts(file).items():
            if code in found:
                raise ValueError(f"{code} is told twice, again in {file.name}")
            found[code] = (told["title"], told["text"].rstrip())
    return found
