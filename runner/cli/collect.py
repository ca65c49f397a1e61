"""`runner collect`: a sweep's children as one table; the sweep's own launch.sh calls it too."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from runner.cli import completing
from runner.cli.common import profile_option
from runner.diagnostics import Span, shown_path
from runner.project import Project, find_project, valid_name
from runner.provenance.find import has_not_run
from runner.recipe.load import Refused
from runner.recipe.naming import not_a_name
from runner.record import METRICS, runs
from runner.report.sweep import POINTS, as_csv, columns, progress, rows


@click.command()
@click.argument("sweep", metavar="SWEEP", shell_complete=completing.recipes)
@profile_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write CSV of the finished ones here.")
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    shell_complete=completing.runs,
    help="This run of the sweep, not its newest.",
)
@click.option(
    "--figures", type=click.Path(path_type=Path, file_okay=False), help="Write a table and figures of them here."
)
@click.option("--tick", is_flag=True, hidden=True, help="Add how far the sweep is to the run's metrics.")
def command(sweep: str, profile: str, out: Path | None, run: Path | None, figures: Path | None, tick: bool) -> None:
    """Show what a sweep's children came to, finished or not: sizes, tokens, FLOPs, losses, speed and memory."""
    project = find_project()
    if not valid_name(sweep):
        raise Refused(not_a_name(sweep, Span("<command line>")))
    folder = run or _newest(project, sweep, profile)
    table = rows(project, sweep, profile, folder)
    if tick:
        with (folder / METRICS).open("a") as metrics:
            metrics.write(json.dumps({"time": time.time(), **progress(table)}) + "\n")
        return
    if figures is not None:
        _draw(project, sweep, profile, folder, figures)
        return
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(as_csv(table))
        done = sum(row["status"] == "finished" for row in table)
        click.echo(f"{done} of {len(table)} children in {shown_path(str(out))}")
        return
    names = columns(table)
    shown = [[_cell(row.get(name)) for name in names] for row in table]
    widths = [max(len(line[i]) for line in [names, *shown]) for i in range(len(names))]
    for line in [names, *shown]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _draw(project: Project, sweep: str, profile: str, folder: Path, figures: Path) -> None:
    from runner.report.sweep_plots import draw_children
    from runner.report.sweep_table import table_of, traced

    children = traced(project, sweep, profile, folder)
    table_of(children).write(figures)
    draw_children(children, figures)
    click.echo(f"{len(children)} children in tables and figures: {shown_path(str(figures))}")


def _newest(project: Project, sweep: str, profile: str) -> Path:
    found = [r.path for r in runs(project, sweep, profile) if (r.path / POINTS).is_file()]
    if not found:
        raise has_not_run(sweep, profile)
    return found[0]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
