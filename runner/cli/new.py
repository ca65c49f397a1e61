"""`runner new`: a recipe from another, comments kept."""

from __future__ import annotations

import json
import re

import click

from runner.cli import completing
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project, valid_name
from runner.recipe.load import Refused, load
from runner.recipe.naming import find_recipe, not_a_name

# a key and its value, which may go on in lines that are indented
_TITLE = re.compile(r"^title:.*(?:\n[ \t]+\S.*)*$", re.MULTILINE)

# where an editor finds the schema, from the recipe's own folder
_SCHEMA = re.compile(r"(?<=^# yaml-language-server: )\$schema=(?:\.\./)+schemas/")


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="RECIPE",
    shell_complete=completing.recipes,
    help="The recipe to start from.",
)
@click.option("--title", help="Its title; the source's when left out.")
def command(name: str, source: str, title: str | None) -> None:
    """Copy a recipe under a new name, with its comments, ready to edit."""
    project = find_project()
    origin = find_recipe(project, source)
    load(origin, source)  # raises Refused: what can't be read is not worth a copy
    name = name.removeprefix("recipes/").removesuffix(".yaml")
    if not valid_name(name):
        raise Refused(not_a_name(name, Span("<command line>")))
    target = project.recipe_file(name)
    if target.exists():
        raise Refused(
            Diagnostic("R017", f"`{name}` exists already", Span(str(target)), help="choose another name, or edit it")
        )
    text = origin.read_text(encoding="utf-8")
    text = _SCHEMA.sub(lambda _: "$schema=" + "../" * (name.count("/") + 1) + "schemas/", text, count=1)
    if title is not None:
        line = f"title: {json.dumps(title, ensure_ascii=False)}"
        text, found = _TITLE.subn(lambda _: line, text, count=1)
        if not found:  # it has its parent's
            text = f"{text.rstrip()}\n{line}\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    click.echo(
        f"{shown_path(str(target))}: a copy of {project.recipe_name(origin)}; edit it, then `runner validate {name}`"
    )
