"""A recipe -> Axolotl's plain config: header and references in comments, from which import makes the recipe again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from runner.importing.dump import dump
from runner.importing.places import Change, changed, extents, is_block, nodes_of, prefixed
from runner.recipe.edit import edited
from runner.recipe.kinds import header_keys
from runner.recipe.load import Refused, parse

# a line of the recipe that is none of the config
KEPT = "#: "
# at the end of a line of the config that is none of the recipe
ADDED = " #:"
_FIRST = "# Exported from "


def plain_text(source: str, values: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> str:
    """`source` is the recipe's own text where that is the whole of it, else its composed `values` are written out;
    `wanted` is what Axolotl shall read, `where` the recipe's name and profile for the first line."""
    text = source if _usable(source, values) else dump(dict(values))
    changes: list[Change] = []
    for key, _, start, end in extents(text, nodes_of(text)):
        changes += _one(text, str(key.value), values[str(key.value)], start, end, wanted)
    if text.startswith("# yaml-language-server:"):
        changes.append(prefixed(text, 0, (text + "\n").index("\n"), KEPT))
    more = "".join(_lines(key, value) for key, value in wanted.items() if key not in values)
    first = f"{_FIRST}{where}. `runner import` makes it a recipe again, without the lines that end in{ADDED}"
    return f"{first}\n{changed(text, changes).rstrip()}\n{more}"


def _one(text: str, key: str, value: Any, start: int, end: int, wanted: Mapping[str, Any]) -> Iterator[Change]:
    if key in header_keys() or (key not in wanted and value is not None):
        yield prefixed(text, start, end, KEPT)
    elif key in wanted and (wanted[key] != value or not _survives(text[start:end], key, wanted[key])):
        _, _, kept = prefixed(text, start, end, KEPT)
        yield start, end, kept + "\n" + _lines(key, wanted[key]).rstrip("\n")


def _survives(lines: str, key: str, value: Any) -> bool:
    """Whether PyYAML, with which Axolotl reads, takes these lines for that value."""
    try:
        read = yaml.safe_load(lines)
    except yaml.YAMLError:  # an alias, whose anchor stands elsewhere
        return False
    return isinstance(read, dict) and _same(read.get(key), value)


def _same(one: Any, two: Any) -> bool:
    """Equal, and of the same types all the way down: `1 == True`."""
    if isinstance(one, dict) and isinstance(two, dict):
        ours = {k: v for k, v in one.items() if v is not None}  # which says nothing
        return ours.keys() == two.keys() and all(_same(ours[k], two[k]) for k in ours)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    return type(one) is type(two) and bool(one == two)


def _lines(key: str, value: Any) -> str:
    return "".join(f"{line}{ADDED}\n" for line in dump({key: value}, one_line=True).splitlines())


def _usable(source: str, values: Mapping[str, Any]) -> bool:
    try:
        whole = parse(source, "<recipe>", "exported").plain() == values and is_block(nodes_of(source))
    except Refused:
        return False
    ours = any(line.startswith(KEPT.rstrip()) or line.endswith(ADDED) for line in source.splitlines())
    return whole and not ours and "\r" not in source


def is_exported(text: str) -> bool:
    first = text.partition("\n")[0]
    return first.startswith(_FIRST) and first.endswith(ADDED)


def restored(text: str) -> str:
    """The recipe that an export was made from. A number that somebody changed since, on a line that stands for the
    recipe's own, is changed in the recipe."""
    added = [line.removesuffix(ADDED) for line in text.split("\n")[1:] if line.endswith(ADDED)]
    recipe = _uncommented(text)
    try:
        written, kept = yaml.safe_load("\n".join(added)) or {}, parse(recipe, "<recipe>", "exported").plain()
    except (yaml.YAMLError, Refused):
        return recipe
    numbers = {k: v for k, v in written.items() if _is_number(v) and _is_number(kept.get(k)) and v != kept[k]}
    return edited(recipe, "<recipe>", numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _uncommented(text: str) -> str:
    lines = [line for line in text.split("\n") if not line.endswith(ADDED)]
    return "\n".join(
        line[len(KEPT) :] if line.startswith(KEPT) else "" if line == KEPT.rstrip() else line for line in lines
    )
