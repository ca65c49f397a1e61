"""A tool's table in data/imports -> what each of its keys becomes that needs no more than another name, or none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from runner.diagnostics import Diagnostic
from runner.importing.types import Draft
from runner.project import shipped
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word

# one of transformers' keys that several tools take
SHARED = "trainer"


@dataclass(frozen=True, slots=True)
class Table:
    """Their key -> ours, -> why it is dropped, -> why it can't be."""

    renamed: dict[str, str]
    dropped: dict[str, str]
    by_hand: dict[str, str]

    @property
    def keys(self) -> set[str]:
        return {*self.renamed, *self.dropped, *self.by_hand}


@cache
def table(tool: str) -> Table:
    """The tool's own table over that of transformers' arguments."""
    parts: dict[str, dict[str, str]] = {"renamed": {}, "dropped": {}, "by_hand": {}}
    for name in (SHARED, tool):
        given: dict[str, dict[str, str]] = yaml.safe_load((shipped("data") / "imports" / f"{name}.yaml").read_text())
        own = {key for part in given.values() for key in part}
        parts = {p: {k: v for k, v in parts[p].items() if k not in own} | given[p] for p in parts}
    return Table(**parts)


def by_table(draft: Draft, tool: str, special: set[str]) -> None:
    """Every key that is not `special`: taken over, dropped, or told about (R813, R814). What is null or off needs no
    hand."""
    known = table(tool)
    for key, value in draft.source.values.items():
        if key in special:
            continue
        if value is None:
            draft.drop(key, "not set")
        elif key in known.renamed:
            draft.put(key, {known.renamed[key]: value})
        elif key in known.dropped:
            draft.drop(key, known.dropped[key])
        elif key in known.by_hand:
            _hand(draft, key, value, known.by_hand[key])
        else:
            draft.rows.append(_unknown(draft, key, known, special))


def _hand(draft: Draft, key: str, value: Any, why: str) -> None:
    if value in (False, 0, "", "none"):
        draft.drop(key, "off")
    else:
        draft.by_hand(key, why)


def _unknown(draft: Draft, key: str, known: Table, special: set[str]) -> Any:
    from runner.importing.types import Row

    close = nearest_word(key, sorted(known.keys | special))
    draft.found.append(
        Diagnostic(
            "R814",
            f"unknown key `{printable(key)}`",
            draft.source.span(key),
            label=f"did you mean `{close}`?" if close else "",
            help=f"rename `{printable(key)}` to `{close}` and import again" if close else "",
        )
    )
    return Row(key, "", "unknown")
