"""`runner validate`: everything wrong with recipes, at its line, with the mend."""

from __future__ import annotations

import click

from runner.cli.common import check_recipe, profile_option, set_option
from runner.cli.output import print_diagnostics, verdict
from runner.diagnostics import Diagnostic, sort_diagnostics
from runner.project import find_project
from runner.recipe.graph import Library
from runner.recipe.load import Refused, find_recipe


@click.command()
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option("--format", "style", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing when all is well.")
@profile_option
@set_option
@click.pass_context
def command(
    ctx: click.Context,
    recipes: tuple[str, ...],
    style: str,
    strict: bool,
    quiet: bool,
    profile: str,
    sets: tuple[str, ...],
) -> None:
    """Check recipes (all of them when none is named) and say everything that is wrong.

    Exit code 0 when all is well, 1 when a recipe has an error.
    """
    project = find_project()
    library = Library(project, profile)
    files = []
    found: list[Diagnostic] = []
    for name in recipes:
        try:
            files.append(find_recipe(project, name))
        except Refused as refused:
            found += refused.diagnostics
    if not recipes:
        files = project.all_recipes()
    for file in files:
        found += check_recipe(library, file, sets)[1]
    found = sort_diagnostics(found)  # a parent's fault, met again in each of its children, is told once
    print_diagnostics(found, style)
    if style == "text" and (found or not quiet):
        click.echo(verdict(found, len(recipes) or len(files)), err=bool(found))
    if any(d.is_error or strict for d in found):
        ctx.exit(1)
