"""`runner new`: a recipe from another, comments kept."""

from __future__ import annotations

import re

import click

from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project, valid_name
from runner.recipe.load import Refused, find_recipe, printable


@click.command()
@click.argument("name")
@click.option("--from", "source", required=True, metavar="RECIPE", help="The recipe to start from.")
@click.option("--title", help="Its title; the source's when left out.")
def command(name: str, source: str, title: str | None) -> None:
    """Copy a recipe under a new name, with its comments, ready to edit."""
    project = find_project()
    origin = find_recipe(project, source)
    if not valid_name(name):
        raise Refused(
            Diagnostic(
                "R011",
                f"`{printable(name)}` can't be a recipe's name",
                Span("<command line>"),
                notes=("a name becomes a path and a make target: lower-case letters, digits, `-`, `_`, `.` and `/`",),
                help="for instance `phase4/my-dpo`",
            )
        )
    target = project.recipe_file(name)
    if target.exists():
        raise Refused(
            Diagnostic("R017", f"`{name}` exists already", Span(str(target)), help="choose another name, or edit it")
        )
    text = origin.read_text(encoding="utf-8")
    if title is not None:
        quoted = '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text = re.sub(r"(?m)^title:.*$", lambda _: f"title: {quoted}", text, count=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    click.echo(
        f"{shown_path(str(target))}: a copy of {project.recipe_name(origin)}; edit it, then `runner validate {name}`"
    )
