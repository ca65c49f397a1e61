"""The schemas work in an editor as they stand: keys are offered, told and checked, with no setting but a modeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.project import Project
from runner.recipe.kinds import kind_names, kind_schema
from tests.conftest import ROOT
from tests.editor.language_server import Editor, install

MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")
RECIPES = Project(ROOT).all_recipes()


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    command = install()
    if isinstance(command, str):
        pytest.skip(command)
    made = Editor(command, ROOT)
    yield made
    made.end()


def modeline(kind: str) -> str:
    return f"# yaml-language-server: $schema=../../schemas/{kind}.schema.json\n"


@pytest.mark.parametrize("file", RECIPES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_every_recipe_names_its_schema(file: Path) -> None:
    text = file.read_text()
    named = MODELINE.match(text)
    kind = re.search(r"^kind: (\S+)", text, re.MULTILINE)
    assert named is not None
    assert kind is not None
    assert (file.parent / named[1]).resolve() == ROOT / "schemas" / f"{kind[1]}.schema.json"


@pytest.mark.parametrize("kind", kind_names())
def test_keys_are_offered_with_what_they_mean(editor: Editor, kind: str) -> None:
    file = ROOT / "recipes" / "phase9" / f"offered-{kind}.yaml"
    given = {"recipe": "1", "kind": kind, "title": "x"}
    editor.open(file, modeline(kind) + "".join(f"{k}: {v}\n" for k, v in given.items()) + "\n")
    offered = editor.keys_at(file, 4, 0)
    editor.close(file)
    wanted = {k: v for k, v in kind_schema(kind)["properties"].items() if k not in given and not _is_refused(v)}
    assert not wanted.keys() - offered.keys()
    for key, schema in wanted.items():
        assert offered[key] == schema["description"], key


def _is_refused(schema: Any) -> bool:
    return schema is False or schema.get("not") == {}


def test_each_key_tells_what_it_is(editor: Editor) -> None:
    """Every key once: most are of several kinds, and mean the same in each."""
    told: set[tuple[str, str]] = set()
    for kind in kind_names():
        properties = kind_schema(kind)["properties"]
        fresh = [k for k, v in properties.items() if (k, v.get("description", "")) not in told and k != "kind"]
        told |= {(k, properties[k].get("description", "")) for k in fresh}
        file = ROOT / "recipes" / "phase9" / f"hovered-{kind}.yaml"
        editor.open(file, modeline(kind) + f"kind: {kind}\n" + "".join(f"{key}:\n" for key in fresh))
        for line, key in enumerate(fresh, start=2):
            shown = _plain(editor.hover(file, line, 1))
            assert _plain(properties[key]["description"]) in shown, (kind, key)
        editor.close(file)


def _plain(text: str) -> str:
    """Less what Markdown escapes, and the blanks that it may lose."""
    return re.sub(r"\s+|&nbsp;|[\\*_`]", "", text.replace("&emsp;", "")).replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("kind", ["finetune", "serve", "rag", "sweep"])
def test_a_misspelt_key_and_a_value_that_is_none_are_marked(editor: Editor, kind: str) -> None:
    file = ROOT / "recipes" / "phase9" / f"wrong-{kind}.yaml"
    enum = next(k for k, v in kind_schema(kind)["properties"].items() if "enum" in v)
    editor.open(file, modeline(kind) + f"recipe: 1\nkind: {kind}\ntitle: x\nno_such_key: 1\n{enum}: no-such-value\n")
    found = editor.diagnostics(file)
    editor.close(file)
    assert any(line == 4 and "no_such_key" in message for line, message in found), found
    assert any(line == 5 and "not accepted" in message for line, message in found), found


def test_the_shipped_recipes_are_clean_in_an_editor(editor: Editor) -> None:
    for file in RECIPES:
        editor.open(file, file.read_text())
    for file in RECIPES:
        assert editor.diagnostics(file) == [], file.stem
