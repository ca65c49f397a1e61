"""`runner stop`: drain an endpoint and leave nothing of it; cancel a run's job."""

from __future__ import annotations

import click

from runner.cli.completing import endpoints as endpoints_by_name
from runner.diagnostics import Diagnostic, Span
from runner.launch import slurm
from runner.launch.endpoints import Endpoint, endpoints, stop
from runner.project import Project, find_project
from runner.recipe.load import Refused
from runner.recipe.naming import nearest_word


@click.command()
@click.argument("name", metavar="NAME|all", shell_complete=endpoints_by_name)
def command(name: str) -> None:
    """Stop an endpoint by its name as `runner ps` shows it, or all: requests under way come to their end, then no
    process is left. Of one that was killed, what is left is cleared away.

    The name of a recipe whose run is a Slurm job cancels that job; `runner run` goes on from what it saved.
    """
    project = find_project()
    for run, job in slurm.jobs(project, name):
        slurm.refuse_slurm()
        slurm.cancel(job)
        click.echo(f"{name} ({run.path.parent.name}): cancelled Slurm job {job}", err=True)
        return
    for endpoint in _named(project, name):
        if endpoint.alive:
            click.echo(f"{endpoint.recipe} ({endpoint.profile}): stopping", err=True)
        was, ended = endpoint.status, stop(endpoint)
        word = "stopped" if endpoint.alive else f"had {was}"
        left = f"{len(ended.pids) or 'no'} processes left"
        click.echo(f"{endpoint.recipe} ({endpoint.profile}): {word}, {left}")


def _named(project: Project, name: str) -> list[Endpoint]:
    """Those of this project before others of the same name. Raises Refused where there is none."""
    found = list(endpoints())
    if name != "all":
        names = [word for e in found for word in (e.recipe, e.recipe.removeprefix("serve/"))]
        found = [e for e in found if name in (e.recipe, e.recipe.removeprefix("serve/"))]
        ours = [e for e in found if e.run.is_relative_to(project.artifacts)]
        found = ours or found
    if not found and name != "all":
        close = nearest_word(name, names)
        raise Refused(
            Diagnostic(
                "R334",
                f"no endpoint `{name}` runs",
                Span("<command line>"),
                help=f"did you mean `{close}`?" if close else "`runner ps` lists those that do",
            )
        )
    return found
