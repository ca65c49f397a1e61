"""A recipe and a payload -> the recipe with the payload in every text that takes it; what it renders to, held against
the same with a harmless word. Shared by the tests of untrusted input and by `make fuzz`."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from runner.diagnostics import Diagnostic, Span
from runner.project import Project
from runner.recipe.check import check
from runner.recipe.compose import compose
from runner.recipe.document import Document, Node
from runner.recipe.graph import Library, check_needs
from runner.recipe.kinds import kind_schema
from runner.recipe.load import Refused
from runner.recipe.resolve import resolve
from runner.render import comment, render
from tests.conftest import ROOT

PROJECT = Project(ROOT)
WORD = "harmless"
At = tuple[str | int, ...]
# what chooses the schema, the parents and the needs: other texts there name other recipes
KEPT = ("recipe", "kind", "extends", "needs", "profiles", "base", "box")


@cache
def composed(name: str) -> Document:
    return compose(PROJECT, PROJECT.recipe_file(name))


@dataclass(frozen=True)
class Planted:
    """`places` are where the payload stands in `doc`."""

    doc: Document
    payload: str
    places: frozenset[At]

    def less_models(self) -> Planted:
        """The smoke profile makes a small model of the same architecture, which it must be able to tell."""
        places = frozenset(at for at in self.places if at[-1] not in ("model", "base_model", "tokenizer", "peft"))
        plain = _filled(self.doc.root.plain(), dict.fromkeys(self.places - places, WORD))
        given = composed(self.doc.name).root.plain()
        plain = {key: given.get(key) if value == WORD else value for key, value in plain.items()}
        return replace(
            self, doc=numbered(self.doc.name, {k: v for k, v in plain.items() if v is not None}), places=places
        )

    def with_word(self) -> Document:
        return numbered(self.doc.name, _filled(self.doc.root.plain(), dict.fromkeys(self.places, WORD)))


def numbered(name: str, plain: dict[str, Any]) -> Document:
    """Every value on a line of its own, so that a diagnostic tells which it means."""
    line = 0

    def build(value: Any) -> Node:
        nonlocal line
        line += 1
        span = Span("recipes/planted.yaml", line, 1)
        if isinstance(value, dict):
            return Node({key: build(below) for key, below in value.items()}, span, span)
        return Node([build(below) for below in value] if isinstance(value, list) else value, span, span)

    return Document(name, str(PROJECT.recipe_file(name)), build(plain))


def texts(plain: Any, at: At = ()) -> Iterator[At]:
    if isinstance(plain, dict):
        for key, below in plain.items():
            if at or key not in KEPT:
                yield from texts(below, (*at, key))
    elif isinstance(plain, list):
        for i, below in enumerate(plain):
            yield from texts(below, (*at, i))
    elif isinstance(plain, str):
        yield at


def more_keys(plain: dict[str, Any]) -> dict[str, Any]:
    """With every key of the kind's schema that takes text and is not given yet."""
    properties = kind_schema(plain["kind"])["properties"]
    takes = {k for k, v in properties.items() if "string" in str(v.get("type")) and "enum" not in v}
    return {**plain, **dict.fromkeys(sorted(takes - plain.keys() - set(KEPT)), WORD)}


def _filled(plain: Any, payloads: Mapping[At, str], at: At = ()) -> Any:
    if isinstance(plain, dict):
        return {key: _filled(below, payloads, (*at, key)) for key, below in plain.items()}
    if isinstance(plain, list):
        return [_filled(below, payloads, (*at, i)) for i, below in enumerate(plain)]
    return payloads.get(at, plain)


def plant(name: str, plain: dict[str, Any], payload: str, library: Library) -> Planted | None:
    """The payload stays wherever neither schema nor rules refuse it; None where nothing is left. A text that was made
    up for its key alone goes when it is refused."""
    own = dict(composed(name).root.plain())

    def wrong(there: set[At]) -> tuple[Document, list[Diagnostic]]:
        kept = {k: v for k, v in plain.items() if k in own or (k,) in there}
        doc = numbered(name, _filled(kept, dict.fromkeys(there, payload)))
        return doc, [d for d in [*check(doc, ROOT), *check_needs(library, doc)] if d.is_error]

    places = set(texts(plain))
    while places:
        doc, found = wrong(places)
        if not found:
            return Planted(doc, payload, frozenset(places))
        lines = dict(_lines(doc.root))
        blamed = {at for d in found for at in places if _leads(lines.get(d.span.line), at)}
        blamed = blamed or {at for at in places if wrong({at})[1]} or set(list(places)[:1])
        places -= blamed
    return None


def _lines(node: Node, at: At = ()) -> Iterator[tuple[int, At]]:
    yield node.span.line, at
    below = (
        node.value.items()
        if isinstance(node.value, dict)
        else enumerate(node.value if isinstance(node.value, list) else ())
    )
    for key, each in below:
        yield from _lines(each, (*at, key))


def _leads(told: At | None, place: At) -> bool:
    return bool(told) and (place[: len(told or ())] == told or (told or ())[:1] == place[:1])


def rendered(doc: Document, profile: str) -> dict[str, str] | list[Diagnostic]:
    try:
        recipe = resolve(PROJECT, doc, profile, lambda recipe, profile: None)
    except Refused as refused:
        return refused.diagnostics
    return {name: text for name, text in render(recipe).items() if not name.startswith("jobs/")}


def must_be_harmless(planted: Planted, profile: str) -> dict[str, str] | None:
    """What was rendered; None where it was refused after all. Raises AssertionError where the payload changed anything
    but the value that it stands in."""
    planted = planted if profile == "full" else planted.less_models()
    files, harmless = rendered(planted.doc, profile), rendered(planted.with_word(), profile)
    if isinstance(files, list) or isinstance(harmless, list):
        return None
    assert files.keys() == harmless.keys()
    for name, text in files.items():
        place = PurePosixPath(name)
        assert not place.is_absolute(), name
        assert ".." not in place.parts, name
        read, wanted = read_back(name, text), read_back(name, harmless[name])
        assert _swapped(read, planted.payload) == wanted, name
    return files


def read_back(name: str, text: str) -> Any:
    """As its own reader reads it."""
    text = re.sub(r"/\.smoke/[\w-]+", "/.smoke/model", text)  # named by the hash of what it is made from
    if name.endswith((".yaml", ".json")):
        return _opened(yaml.safe_load(text) if name.endswith(".yaml") else json.loads(text))
    if name.endswith(".sh"):
        return shlex.split(text, comments=True)
    return [line for line in text.splitlines() if not re.match(r"\s*#(?!SBATCH)", line)]


def _opened(value: Any) -> Any:
    """A server's arguments may be JSON within JSON."""
    if isinstance(value, dict):
        return {key: _opened(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_opened(below) for below in value]
    return json.loads(value) if isinstance(value, str) and value.startswith('{"') else value


def _swapped(value: Any, payload: str) -> Any:
    """With the harmless word in the payload's place; as shell words and comments show it, too."""
    if isinstance(value, dict):
        return {_swapped(key, payload): _swapped(below, payload) for key, below in value.items()}
    if isinstance(value, list):
        return [_swapped(below, payload) for below in value]
    if not isinstance(value, str):
        return value
    for shown in (payload, comment(payload)):
        value = value.replace(shown, WORD) if shown else value
    return value


def run_by_hand(folder: Path, files: dict[str, str], mark: str) -> list[list[str]]:
    """Executes launch.sh for real, with programs that only note their arguments. Raises AssertionError where the
    payload's own command ran."""
    noted = folder / "noted"
    stub = f"""#!/bin/sh
for word in "$0" "$@"; do printf '%s\\0' "$word"; done >> "{noted}"
printf '\\n\\0' >> "{noted}"
"""
    place = folder / "run"
    for name, text in {**files, "../env/bin/python": stub, "../bin/make": stub, "../bin/sbatch": stub}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    for tool in ("env/bin/python", "bin/make", "bin/sbatch"):
        (folder / tool).chmod(0o755)
    variables = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder)}
    variables |= {f"RUNNER_ENV{end}": str(folder / "env") for end in ("", "_VLLM")}
    subprocess.run(["bash", "launch.sh"], cwd=place, env=variables, capture_output=True, timeout=60, check=False)
    assert not list(folder.rglob(mark)), "the payload was executed"
    assert not Path(mark).exists(), "the payload was executed"
    words = noted.read_bytes().decode().split("\0")[:-1] if noted.exists() else []
    calls: list[list[str]] = [[]]
    for word in words:
        calls[-1].append(word) if word != "\n" else calls.append([])
    return calls[:-1]
