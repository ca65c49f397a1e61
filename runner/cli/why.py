"""`runner why`: what happened in a run that failed, the likely cause, and the knob."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from runner.cli.output import wants_colour
from runner.diagnostics import Diagnostic, Span
from runner.project import Project, find_project, valid_name
from runner.provenance.find import recipe_and_profile
from runner.recipe.compose import PROFILES
from runner.recipe.load import Refused, printable
from runner.recipe.naming import find_recipe
from runner.record import Run, read_run
from runner.report.ink import Ink
from runner.report.why import account_of, newest_failed, newest_of
from runner.report.why_text import page, to_json


@click.command()
@click.argument("run", required=False, metavar="[RUN|RECIPE]")
@click.option("--profile", type=click.Choice(PROFILES), help="Of this profile only.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(run: str | None, profile: str | None, as_json: bool) -> None:
    """Say why a run failed: what happened, the likely cause, the knob, the lines of the log that tell, and how to go
    on. RUN is a run's directory; of a RECIPE the newest run is meant; without either, the newest run of all that
    failed. Endpoints and sweeps are runs too."""
    project = find_project()
    found = _chosen(project, run, profile)
    account = account_of(project, found)
    if as_json:
        click.echo(json.dumps(to_json(account), indent=1, allow_nan=False))
        return
    width = max(60, min(100, shutil.get_terminal_size().columns))
    click.echo("\n".join(page(account, Ink(wants_colour(sys.stdout), width))))


def _chosen(project: Project, given: str | None, profile: str | None) -> Run:
    """Raises Refused: R440 where nothing failed or ran, R441 where a folder holds no run."""
    if given is None:
        found = newest_failed(project, profile)
        if found is None:
            raise _refused("R440", "no run has failed here", "`runner why RECIPE` tells of a recipe's newest run")
        return found
    folder = Path(given)
    if folder.is_dir() and not (project.recipes / f"{given}.yaml").is_file():
        run = read_run(folder.resolve())
        if run is None:
            help = "name a folder that a run has left, artifacts/RECIPE/PROFILE/TIME, or a recipe"
            raise _refused("R441", f"there is no run in `{printable(given)}`", help)
        return run
    name, chosen = recipe_and_profile(given, profile or "")
    profile = chosen or None
    found = newest_of(project, name, profile) if valid_name(name) else None  # a sweep's child has no recipe of its own
    if found is None:
        name = project.recipe_name(find_recipe(project, name))
        found = newest_of(project, name, profile)
    if found is None:
        where = f" in profile `{profile}`" if profile else ""
        raise _refused("R440", f"`{name}` has not run{where} yet", f"make recipe R={name}")
    return found


def _refused(code: str, message: str, help: str) -> Refused:
    return Refused(Diagnostic(code, message, Span("<command line>"), help=help))
