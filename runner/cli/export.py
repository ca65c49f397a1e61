"""`runner export`: a recipe as another tool's plain config."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli import completing
from runner.cli.common import open_recipe, profile_option, recipe_argument, refuse_existing, set_option, write_new
from runner.cli.output import print_diagnostics
from runner.diagnostics import shown_path
from runner.recipe.naming import find_recipe


@click.command()
@recipe_argument
@click.option("--to", "tool", type=completing.Word(["axolotl"]), required=True, help="The tool that shall read it.")
@click.option(
    "--box", metavar="NAME", shell_complete=completing.boxes, help="For this box instead of the recipe's own."
)
@profile_option
@set_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; else it is printed.")
def command(recipe: str, tool: str, box: str | None, profile: str, sets: tuple[str, ...], out: Path | None) -> None:
    """Write a recipe as a config that Axolotl reads by itself; `runner import` makes it a recipe again."""
    from runner.importing.export import exported

    if out is not None:
        refuse_existing(out)
    project, opened, warnings = open_recipe(recipe, profile, (*sets, *([f"box={box}"] if box else [])))
    files, found = exported(opened, find_recipe(project, recipe).read_text(encoding="utf-8-sig"))
    print_diagnostics([*warnings, *found])
    if out is None:
        click.echo(files.pop(""), nl=False)
        return
    for name, text in files.items():
        place = out.parent / name if name else out
        write_new(place, text)
        click.echo(shown_path(str(place)))
