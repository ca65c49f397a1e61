"""`runner import`: a recipe from another tool's config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from runner.cli import completing
from runner.cli.common import check_document, refuse_existing, write_new
from runner.cli.output import print_diagnostics
from runner.diagnostics import Diagnostic, Span, shown_path, sort_diagnostics
from runner.importing.detect import TOOLS, translate
from runner.importing.read import read
from runner.importing.types import Row
from runner.project import Project, find_project, valid_name
from runner.recipe.graph import Library
from runner.recipe.load import Refused, parse, printable
from runner.recipe.naming import not_a_name

STDOUT = "<recipe>"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="Its name as a recipe, for instance phase4/mine.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; without either it is printed.")
@click.option("--from", "tool", type=completing.Word(list(TOOLS)), help="The tool it is for, if its keys don't tell.")
@click.pass_context
def command(ctx: click.Context, file: Path, name: str | None, out: Path | None, tool: str | None) -> None:
    """Make a recipe of a config of Axolotl, LLaMA-Factory, or TRL and the alignment handbook.

    Exit code 0 when the recipe can run as it is, 1 when something in it needs a hand: it is written all the same.
    """
    if name is not None and out is not None:
        raise click.UsageError("give --as or --out, not both")
    project = find_project()
    place = _place(project, name, out)
    made = translate(read(file), project.root, tool)
    text = _with_modeline(made.text, made.kind, project, place)
    if place is None:
        click.echo(text, nl=False)
    else:
        write_new(place, text)
    if made.rows:
        click.echo(_table(made.rows), err=place is None)
    found = [*made.found, *_checked(project, text, place)]
    print_diagnostics(_once(found))
    if place is not None:
        hand = ", which needs a hand" if any(d.is_error for d in found) else ""
        click.echo(f"{shown_path(str(place))}: a recipe of kind {made.kind}, from {made.tool}{hand}")
    ctx.exit(1 if any(d.is_error for d in found) else 0)


def _place(project: Project, name: str | None, out: Path | None) -> Path | None:
    if name is not None:
        name = name.removeprefix("recipes/").removesuffix(".yaml")
        if not valid_name(name):
            raise Refused(not_a_name(name, Span("<command line>")))
        out = project.recipe_file(name)
    if out is not None:
        refuse_existing(out)
    return out


def _with_modeline(text: str, kind: str, project: Project, place: Path | None) -> str:
    """With the line by which an editor finds the schema, where the recipe lies among others."""
    first, _, rest = text.partition("\n")
    if first.startswith("# yaml-language-server:"):
        text = rest
    if place is None or not place.resolve().is_relative_to(project.recipes.resolve()):
        return text
    up = "../" * len(place.resolve().relative_to(project.root.resolve()).parent.parts)
    return f"# yaml-language-server: $schema={up}schemas/{kind}.schema.json\n{text}"


def _checked(project: Project, text: str, place: Path | None) -> list[Diagnostic]:
    name = project.recipe_name(place) if place is not None else "imported"
    try:
        doc = parse(text, str(place) if place is not None else STDOUT, name)
        return check_document(Library(project), doc, doc)[1]
    except Refused as refused:
        return refused.diagnostics


def _once(found: list[Diagnostic]) -> list[Diagnostic]:
    """A variable at the start of a value is no reference either (R406): told once."""
    variables = {d.message.partition("`")[2].rstrip("`") for d in found if d.code == "R819"}
    return sort_diagnostics(d for d in found if not (d.code == "R406" and any(v in d.message for v in variables)))


def _table(rows: tuple[Row, ...]) -> str:
    shown = [replace(r, theirs=printable(r.theirs, 48), ours=printable(r.ours, 60) or "(dropped)") for r in rows]
    one = max(len(r.theirs) for r in shown)
    two = max(len(r.ours) for r in shown)
    return "\n".join(f"  {r.theirs:<{one}}  {r.ours:<{two}}  {r.why}".rstrip() for r in shown) + "\n"
