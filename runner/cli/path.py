"""`runner path`: the twenty weeks, what is done, what is next, and what it will cost."""

from __future__ import annotations

import json
from datetime import date, datetime

import click

from runner.cli.bar import over
from runner.cli.learning import plan_week
from runner.cli.output import terminal_ink
from runner.curriculum import Curriculum, curriculum
from runner.project import Project, find_project
from runner.record import runs
from runner.report.calendar import read_start, week_of, write_start
from runner.report.costs import costs
from runner.report.path_text import Journey, as_json, overview, week_page
from runner.report.spent import total_usd
from runner.report.standing import deliverables, needed, standing

EPILOG = """
\b
Examples:
  runner path                       the twenty weeks and the seven deliverables
  runner path --week 5              what to read and to run, and what it will cost
  runner path --start 2026-01-05    remember when you began
"""


@click.command(epilog=EPILOG)
@click.option("--week", type=int, metavar="N", help="One week: what to read, what to run.")
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Keep in the project when you began, and show it.",
)
@click.option("--json", "as_json_", is_flag=True, help="As JSON.")
def command(week: int | None, start: datetime | None, as_json_: bool) -> None:
    """Show the learning plan: what is done, what is next, and what the rest will cost.

    Done means that a full run has finished, of the recipe as it is written; smoke runs are told apart. Costs are
    predicted by the plan, on each recipe's own box.
    """
    plan, project = curriculum(), find_project()
    chosen = plan_week(plan, week) if week is not None else None
    if start is not None:
        try:
            write_start(project, start.date())
        except OSError as error:
            raise click.UsageError(f"can't keep it in {project.artifacts}: {error.strerror}") from None
    journey = make_journey(project, plan)
    if as_json_:
        shown = [chosen] if chosen else list(plan.weeks)
        click.echo(json.dumps(as_json(journey, shown), indent=1))
        return
    ink = terminal_ink()
    for line in week_page(journey, chosen, ink) if chosen else overview(journey, ink):
        click.echo(line)


def make_journey(project: Project, plan: Curriculum) -> Journey:
    recipes = [recipe for week in plan.weeks for recipe in (*week.recipes, *week.beyond)]
    start = read_start(project)
    return Journey(
        plan,
        {recipe: standing(project, recipe) for recipe in recipes},
        costs(project, recipes, lambda changed: over(changed, "planning")),
        deliverables(project, plan),
        start,
        week_of(start, date.today()) if start else None,
        sum(total_usd(runs(project, recipe, "full")) for recipe in recipes),
        lambda named: needed(project, named),
    )
