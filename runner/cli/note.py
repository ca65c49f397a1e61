"""`runner note`: a page to fill in for each paper of the plan."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.common import refuse_existing, write_new
from runner.cli.completing import papers
from runner.curriculum import Curriculum, Paper, curriculum
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import Project, find_project
from runner.recipe.load import Refused, printable
from runner.recipe.naming import nearest_word
from runner.report.standing import standing

FOLDER = "notes"
EPILOG = """
\b
Examples:
  runner note                       the papers, week by week; * has a note
  runner note chinchilla            artifacts/notes/chinchilla.md
  runner note lora --out notes/lora.md
"""


@click.command(epilog=EPILOG)
@click.argument("paper", required=False, metavar="[PAPER]", shell_complete=papers)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file; else artifacts/notes/PAPER.md.")
def command(paper: str | None, out: Path | None) -> None:
    """Start a note on a paper, with what it is read for and room for what you make of it; without one, list them."""
    plan, project = curriculum(), find_project()
    if paper is None:
        if out is not None:
            raise click.UsageError("--out goes with a paper")
        _list(plan, project)
        return
    if paper not in plan.papers:
        close = nearest_word(paper, sorted(plan.papers))
        raise Refused(
            Diagnostic(
                "R483",
                f"the plan reads no paper `{printable(paper)}`",
                Span("<command line>"),
                label=f"did you mean `{close}`?" if close else "",
                help=f"runner note {close}" if close else "`runner note` lists them",
            )
        )
    file = out or project.artifacts / FOLDER / f"{paper}.md"
    refuse_existing(file)
    write_new(file, note(plan, project, plan.papers[paper]))
    click.echo(shown_path(str(file)))


def _list(plan: Curriculum, project: Project) -> None:
    width = max(map(len, plan.papers))
    for week in plan.weeks:
        for paper in week.papers:
            there = "*" if (project.artifacts / FOLDER / f"{paper.name}.md").is_file() else " "
            title = paper.title if len(paper.title) < 60 else paper.title[:56].rsplit(" ", 1)[0] + " ..."
            click.echo(f"week {week.number:>2} {there} {paper.name:<{width}}  {title}")


def note(plan: Curriculum, project: Project, paper: Paper) -> str:
    """The template, with what this project has run for it."""
    weeks = plan.weeks_of(paper)
    lines = [f"# {paper.title}", "", f"{paper.authors}, {paper.year}. {paper.link}", ""]
    lines += [f"Read in week {week.number}: {week.goal}." for week in weeks]
    lines += ["", "## The claim, in one sentence", "", "## How it works, in my own words", ""]
    lines += ["## The figure or table that carries it", "", "## What our runs say of it", ""]
    for week in weeks:
        for recipe in week.recipes:
            state = standing(project, recipe)
            newest = state.full or state.smoke
            far = f"{newest.record.get('profile')} run {newest.id}" if newest else "not run yet"
            lines.append(f"- `{recipe}`: {far}")
    lines += ["", "## What I doubt, or did not understand", "", "## What I would try next", ""]
    return "\n".join(lines)
