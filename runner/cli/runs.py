"""`runner runs`: what ran, newest first."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import click

from runner.cli.output import counted
from runner.project import Project, find_project
from runner.recipe.compose import PROFILES
from runner.recipe.naming import find_recipe
from runner.report.history import Summary, history
from runner.report.runs_text import HEAD, as_data, columns, table

STATUSES = ("running", "finished", "failed", "interrupted")
_SPAN = re.compile(r"(\d{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}
_RIGHT = (5, 6)  # time and cost


class Since(click.ParamType[datetime]):
    """A date, a date with a time, or how far back: `12h`, `7d`, `2w`. UTC where no zone is given."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value)
        if span := _SPAN.fullmatch(text):
            return datetime.now(timezone.utc) - timedelta(hours=int(span[1]) * _HOURS[span[2]])
        try:
            then = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time: say 2026-01-31, or 7d for the last seven days", param, ctx)
        return then if then.tzinfo else then.replace(tzinfo=timezone.utc)


@click.command()
@click.option("--recipe", metavar="R", help="Of this recipe, or of all below a folder: `phase4`, a sweep.")
@click.option("--profile", type=click.Choice(PROFILES), help="Of this profile.")
@click.option("--status", type=click.Choice(STATUSES), help="That ended so.")
@click.option("--since", type=Since(), metavar="TIME", help="Started since 2026-01-31, or 12h, 7d, 2w ago.")
@click.option("--limit", type=click.IntRange(0), default=30, show_default=True, help="At most so many; 0 for all.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    recipe: str | None, profile: str | None, status: str | None, since: datetime | None, limit: int, as_json: bool
) -> None:
    """List runs, newest first: how each ended, how long it took, what that cost, and how it stands to its plan.

    Cost is the hours that it took by the price of its box. The ratios are what was measured over what was predicted.
    """
    project = find_project()
    found = [each for each in history(project) if _wanted(each, profile, status, since)]
    if recipe is not None:
        found = _of_recipe(project, found, recipe)
    listed = found[:limit] if limit else found
    if as_json:
        click.echo(json.dumps([as_data(project, each) for each in listed], indent=1))
        return
    if not found:
        click.echo("nothing like that has run yet", err=True)
        return
    for line in columns([HEAD, *table(project, listed)], _RIGHT):
        click.echo(line)
    if len(found) > len(listed):
        click.echo(f"... and {counted(len(found) - len(listed), 'older run')}; --limit 0 lists all", err=True)


def _wanted(each: Summary, profile: str | None, status: str | None, since: datetime | None) -> bool:
    if (profile and each.profile != profile) or (status and each.status != status):
        return False
    if since is None:
        return True
    try:
        then = datetime.fromisoformat(each.started)
    except ValueError:
        return False
    return (then if then.tzinfo else then.replace(tzinfo=timezone.utc)) >= since


def _of_recipe(project: Project, found: list[Summary], given: str) -> list[Summary]:
    """Raises Refused (R001) where nothing of that name ran, and there is no such recipe."""
    name = given.removeprefix("recipes/").removesuffix(".yaml").rstrip("/")
    kept = [each for each in found if each.recipe == name or each.recipe.startswith(f"{name}/")]
    if not kept and not (project.artifacts / name).is_dir():
        find_recipe(project, given)
    return kept
