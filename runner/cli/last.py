"""`runner last`: the newest finished run of a recipe and what it left."""

from __future__ import annotations

import json

import click

from runner.cli.common import profile_option, recipe_argument
from runner.diagnostics import shown_path
from runner.launch.outcome import headline
from runner.project import find_project
from runner.provenance.find import has_not_run
from runner.recipe.naming import find_recipe
from runner.record import latest, read_run


@click.command()
@recipe_argument
@profile_option
@click.option("--json", "as_json", is_flag=True, help="The whole record.")
def command(recipe: str, profile: str, as_json: bool) -> None:
    """Show the newest finished run: its directory, its metrics and its outputs."""
    project = find_project()
    name = project.recipe_name(find_recipe(project, recipe))
    path = latest(project, name, profile)
    run = read_run(path) if path else None
    if run is None:
        raise has_not_run(name, profile)
    if as_json:
        click.echo(json.dumps(run.record, indent=1))
        return
    where = shown_path(str(run.path))
    click.echo(f"{name} ({profile}): run {run.id}, {headline(run.record.get('metrics', {}))}")
    for output in run.record.get("outputs", []):
        click.echo(f"  {output['name']} ({output['type']}): {where}/{output['path']}")
