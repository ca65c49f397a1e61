"""Settings -> a recipe's own file, changed at those keys and nowhere else: comments, quotes and layout stay."""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import PACKAGE, Project
from runner.recipe.compose import compose
from runner.recipe.load import Refused, parse, printable

_PLAIN = re.compile(r"[A-Za-z_./][\w./ +-]*")


def write(project: Project, file: FilePath, settings: Mapping[str, Any]) -> str:
    """Change dotted keys of the recipe in `file`, and return the difference as a unified diff ("" where there is none).

    A key that a parent gives is added to this file; one whose value is None becomes `null`, which undoes a parent's.
    What the file's own `profiles: full:` sets is changed there. Raises Refused (R205) where the change can't be made
    without touching more, and then leaves the file as it was.
    """
    _refuse_shipped(file)
    given = compose(project, file).plain()
    settings = {k: v for k, v in settings.items() if v is not None or _at(given, _parts(k)) is not None}
    raw = file.read_bytes()
    mark = "\ufeff" if raw.startswith(b"\xef\xbb\xbf") else ""
    before = raw.decode("utf-8-sig")
    after = edited(before, str(file), settings)
    if after == before:
        return ""
    _replace(project, file, (mark + after).encode(), settings)
    name = shown_path(str(file))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=2)
    return "\n".join(lines)


def edited(text: str, file: str, settings: Mapping[str, Any]) -> str:
    """The text of a recipe with `settings` (dotted keys to plain values) in it; `file` is what places refer to."""
    wanted = dict(parse(text, file, "").plain())
    last: str | None = None
    for key, value in settings.items():
        path = _parts(key)
        if _at(wanted, ["profiles", "full", *path]) is not None:
            path = ["profiles", "full", *path]
        if not _is_there(wanted, path) or _at(wanted, path) != value:
            text = _with(text, path, value, last)
            _put(wanted, path, value)
            try:
                done = parse(text, file, "").plain() == wanted
            except Refused:
                done = False
            if not done:
                raise Refused(_by_hand(key, value, file))
        last = path[0] if len(path) == 1 else None
    return text


def _refuse_shipped(file: FilePath) -> None:
    if file.resolve().is_relative_to(PACKAGE / "_shipped"):
        raise Refused(
            Diagnostic(
                "R205",
                "a recipe that came with the runner is never changed",
                Span(str(file)),
                help="`runner new NAME --from RECIPE` makes a copy that can be",
            )
        )


def _by_hand(key: str, value: Any, file: str) -> Diagnostic:
    return Diagnostic(
        "R205",
        f"`{printable(key)}` can't be changed without changing more",
        Span(file),
        notes=("an anchor, an alias, a merge key or a parent's `profiles` stands in the way",),
        help=f"write `{printable(key)}: {written(value)}` by hand",
    )


def _replace(project: Project, file: FilePath, raw: bytes, settings: Mapping[str, Any]) -> None:
    """Put `raw` in the file's place, unless the recipe as a whole, parents included, would come to something else."""
    wanted = compose(project, file).plain()
    for key, value in settings.items():
        _put(wanted, _parts(key), value)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}-", suffix=".yaml")
    draft = FilePath(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
        if compose(project, draft).plain() != wanted:
            raise Refused(*(_by_hand(key, value, str(file)) for key, value in settings.items()))
        draft.chmod(file.stat().st_mode)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _parts(key: str) -> list[str]:
    return key.split(".")


def _is_there(values: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _at(values: Any, path: list[str]) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(values.get(part), dict):
            values[part] = {}
        values = values[part]
    values[path[-1]] = value


def _with(text: str, path: list[str], value: Any, last: str | None) -> str:
    """`last` is the key that was changed before: a new one goes below it."""
    reader = YAML(typ="rt", pure=True)
    node = reader.compose(text)
    key = None
    for i, part in enumerate(path):
        found = next(((k, v) for k, v in node.value if k.value == part), None) if _is_mapping(node) else None
        if found is None:
            for above in reversed(path[i + 1 :]):
                value = {above: value}
            if not _is_mapping(node):
                return _over(text, key, node, {part: value})
            return _among(text, node, part, value, last)
        key, node = found
    return _over(text, key, node, value)


def _is_mapping(node: Any) -> bool:
    return isinstance(node, MappingNode)


def _over(text: str, key: Any, node: Any, value: Any) -> str:
    """In place of the value at `node`, which `key` leads to."""
    colon = text.index(":", key.end_mark.index) + 1
    start, end = node.start_mark.index, _end(text, key, node)
    if start >= end:
        return f"{text[:colon]} {written(value)}{text[colon:]}"
    if isinstance(node, ScalarNode) or node.flow_style:
        return text[:start] + written(value, getattr(node, "style", None)) + text[end:]
    # a block below its key: a comment behind the colon stays there
    return f"{text[:colon]} {written(value)}{text[colon:start].rstrip()}{text[end:]}"


def _end(text: str, key: Any, node: Any) -> int:
    """Where a value ends; a block's own mark stands only where the next thing begins."""
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _end(text, *node.value[-1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _end(text, None, node.value[-1])
    if start >= end and key is not None:
        return text.index(":", key.end_mark.index) + 1
    return start + len(text[start:end].rstrip())


def _among(text: str, node: Any, key: str, value: Any, last: str | None) -> str:
    """As a new key of the mapping at `node`: in a line of its own below `last`, or else below all others."""
    if node.flow_style:
        end = node.end_mark.index - 1
        comma = ", " if node.value else ""
        return f"{text[:end].rstrip()}{comma}{key}: {written(value)}{text[end:]}"
    before = next((pair for pair in node.value if pair[0].value == last), node.value[-1])
    end = text.find("\n", _end(text, *before))
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _lines(key, value, node.value[0][0].start_mark.column, newline)
    if end == -1:
        return text + newline + lines.rstrip("\r\n")
    return text[: end + 1] + lines + text[end + 1 :]


def _lines(key: str, value: Any, indent: int, newline: str) -> str:
    if isinstance(value, dict) and value:
        below = "".join(_lines(k, v, indent + 2, newline) for k, v in value.items())
        return f"{' ' * indent}{key}:{newline}{below}"
    return f"{' ' * indent}{key}: {written(value)}{newline}"


def written(value: Any, style: str | None = None) -> str:
    """A value in one line of YAML; `style` is the quote that stood there."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(k)}: {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(written(each) for each in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return value if style != '"' and _is_plain(value) else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str) -> bool:
    """Text that YAML reads as that text without quotes, within brackets too."""
    if not _PLAIN.fullmatch(value) or value != value.strip():
        return False
    return bool(parse(f"value: {value}\n", "<value>", "").plain() == {"value": value})
