"""`runner validate`: everything wrong with recipes, at its line, with the mend."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from runner.cli import completing
from runner.cli.bar import over
from runner.cli.common import box_option, check_recipe, chosen_box, profile_option, set_option
from runner.cli.output import print_diagnostics, verdict
from runner.diagnostics import Diagnostic, sort_diagnostics
from runner.project import find_project, lock_path
from runner.recipe.compose import compose
from runner.recipe.graph import Library, needs_of
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe


@click.command()
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...", shell_complete=completing.recipes)
@click.option(
    "--format", "style", type=completing.Word(["text", "json", "github", "sarif"]), default="text", show_default=True
)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing when all is well.")
@click.option("--needs", is_flag=True, help="And the recipes that they need.")
@click.option("--engine", is_flag=True, help="Ask the engines' own validators too: seconds for each environment.")
@profile_option
@set_option
@box_option
@click.pass_context
def command(
    ctx: click.Context,
    recipes: tuple[str, ...],
    style: str,
    strict: bool,
    quiet: bool,
    needs: bool,
    engine: bool,
    profile: str,
    sets: tuple[str, ...],
    box_name: str | None,
) -> None:
    """Check recipes (all of them when none is named) and say everything that is wrong.

    Exit code 0 when all is well, 1 when a recipe has an error.
    """
    project = find_project()
    library = Library(project, profile)
    box = chosen_box(box_name, project)
    files = []
    found: list[Diagnostic] = []
    for name in recipes:
        try:
            files.append(find_recipe(project, name))
        except Refused as refused:
            found += refused.diagnostics
    if not recipes:
        files = project.all_recipes()
    whole = []
    for file in over(files, "checking"):
        doc, wrong = check_recipe(library, file, sets, box)
        if doc is not None and not sets and not any(d.is_error for d in wrong) and lock_path(file).is_file():
            from runner.provenance.locked import lock_differences  # it renders, which is much to import for few

            wrong = [*wrong, *lock_differences(library, doc)]
        found += wrong
        whole += [] if any(d.is_error for d in wrong) else [file]
    for file in _needed(library, files) if needs else ():
        found += check_recipe(library, file, box=box)[1]
    told = ""
    if engine:
        from runner.cli.validate_engine import ask_engines

        asked = ask_engines(library, whole, sets, box)
        found += asked.found
        told = f"; {asked.told()}"
    found = sort_diagnostics(found)  # a parent's fault, met again in each of its children, is told once
    print_diagnostics(found, style)
    if style == "text" and (found or not quiet):
        click.echo(verdict(found, len(recipes) or len(files)) + told, err=bool(found))
    if any(d.is_error or strict for d in found):
        ctx.exit(1)


def _needed(library: Library, files: list[Path]) -> list[Path]:
    """The files of all recipes that these stand on, less themselves; one that can't be found is told at its `needs`."""
    seen = {file.resolve() for file in files}
    waiting, needed = list(files), []
    while waiting:
        file = waiting.pop()
        try:
            doc = compose(library.project, file, profile=library.profile)
        except Refused:
            continue
        for node in needs_of(doc).values():
            with suppress(Refused):
                below = find_recipe(library.project, str(node.value))
                if below.resolve() not in seen:
                    seen.add(below.resolve())
                    waiting.append(below)
                    needed.append(below)
    return needed
