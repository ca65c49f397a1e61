"""`runner why`: what happened in a run that failed, the likely cause, and the knob."""

from __future__ import annotations

import json
import shutil
import sys

import click

from runner.cli.output import wants_colour
from runner.diagnostics import Diagnostic, Span
from runner.project import Project, find_project
from runner.provenance.find import folder_of, has_not_run, recipe_of, run_in
from runner.recipe.compose import PROFILES
from runner.recipe.load import Refused
from runner.record import Run
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
    """Raises Refused: R440 where nothing failed, R454 where a folder holds no run, R410 where a recipe has not run."""
    if given is None:
        found = newest_failed(project, profile)
        if found is None:
            help = "`runner why RECIPE` tells of a recipe's newest run"
            raise Refused(Diagnostic("R440", "no run has failed here", Span("<command line>"), help=help))
        return found
    folder = folder_of(project, given)
    if folder is not None:
        return run_in(folder, given)
    name, chosen = recipe_of(project, given, profile or "")
    found = newest_of(project, name, chosen or None)
    if found is None:
        raise has_not_run(name, chosen or None)
    return found
