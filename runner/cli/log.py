"""`runner log`: the week's log, drafted from its runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import click

from runner.cli.common import write_new
from runner.cli.learning import plan_week
from runner.cli.output import counted
from runner.curriculum import Week, curriculum
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project
from runner.recipe.load import Refused
from runner.record import METRICS, Run
from runner.report import calendar
from runner.report.kept import Edited, mark, replaced
from runner.report.standing import standing
from runner.report.weekly import WeekLog, generated, notes, runs_between

FOLDER = "log"
# of one figure; a sweep's children would fill pages
MOST_PANELS = 9
EPILOG = """
\b
Examples:
  runner path --start 2026-01-05            once: when week 1 began
  runner log --week 5                       artifacts/log/week-05.md
  runner log --week 5 --since 2026-02-02 --out notes/week5.md
"""


@click.command(epilog=EPILOG)
@click.option("--week", type=int, metavar="N", help="Of this week; by default the week that it is.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="The week's first day.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file; else artifacts/log/week-NN.md.")
def command(week: int | None, since: datetime | None, out: Path | None) -> None:
    """Draft the log of a week: what ran, figures, loss curves, predicted against measured, what failed, money.

    What you write around the generated part is kept when the log is written again.
    """
    plan, project = curriculum(), find_project()
    start = calendar.read_start(project)
    if week is None and start is not None:
        week = min(max(1, calendar.week_of(start, date.today())), len(plan.weeks))
    if week is None:
        raise _no_dates("--week N --since")
    chosen = plan_week(plan, week)
    span = _span(chosen, start, since.date() if since else None)
    file = out or project.artifacts / FOLDER / f"week-{week:02}.md"
    found = runs_between(project, span)
    earlier = _read(file)
    _refuse_edited(file, earlier)
    figures = _draw(found, f"Week {week}", file)
    missing = [recipe for recipe in chosen.recipes if standing(project, recipe).level != "done"]
    ours = generated(WeekLog(chosen, span, found, figures, missing))
    write_new(file, replaced(earlier, ours) if earlier is not None else f"{mark(ours)}\n\n{notes()}\n")
    click.echo(f"{shown_path(str(file))}: {counted(len(found), 'run')} from {span.first} to {span.last}")


def _span(week: Week, start: date | None, since: date | None) -> calendar.Span:
    if since is not None:
        return calendar.Span(since, since + calendar.WEEK)
    if start is None:
        raise _no_dates("--since")
    return calendar.span_of(start, week.number)


def _no_dates(option: str) -> Refused:
    return Refused(
        Diagnostic(
            "R481",
            "nobody has said when the plan began, so the week has no dates",
            Span("<command line>"),
            help=f"`runner path --start YYYY-MM-DD` keeps it, or give `{option} YYYY-MM-DD`",
        )
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"can't read {shown_path(str(file))}: {error}") from None


def _refuse_edited(file: Path, text: str | None) -> None:
    """Before anything is drawn or written."""
    if text is None:
        return
    try:
        replaced(text, "")
    except Edited:
        raise Refused(
            Diagnostic(
                "R482",
                f"{shown_path(str(file))} was written in where `runner log` writes",
                Span(str(file)),
                notes=("only what stands outside its marks can be kept",),
                help="name another file with `--out`, or move your text below the marks",
            )
        ) from None


def _draw(found: Sequence[Run], title: str, file: Path) -> list[str]:
    """Curves as PNG and SVG beside the log: of a recipe and profile the newest run's, full runs before smoke."""
    newest = {(run.record.get("recipe"), run.record.get("profile")): run for run in found}
    with_metrics = [run for run in reversed(newest.values()) if (run.path / METRICS).is_file()]
    with_metrics.sort(key=lambda run: run.record.get("profile") != "full")
    if not with_metrics:
        return []
    from runner.report.curves import curve_of, draw_curves

    curves = [curve_of(f"{r.record['recipe']} ({r.record['profile']})", r.path, {}) for r in with_metrics]
    curves = [curve for curve in curves if curve.points][:MOST_PANELS]
    if not curves:
        return []
    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw_curves(curves, title, file.with_name(f"{file.stem}-curves.png"))
    return [each.name for each in drawn if each.suffix == ".png"]
