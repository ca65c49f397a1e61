"""`runner compare`: runs side by side; the launch.sh of kind `compare` calls it too."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from runner.cli.common import profile_option
from runner.cli.compare_entries import entries_of, label_of, origins
from runner.comparison.compare import Comparison, Entry, Options, compare
from runner.comparison.tables import Table, shown
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project
from runner.recipe.load import Refused
from runner.record import METRICS


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN RUN...")
@profile_option
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Compare this task or group alone; repeatable.")
@click.option("--baseline", metavar="RUN", help="Compare all others with this one, instead of every pair.")
@click.option(
    "--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95, show_default=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write tables and figures here.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the loss curves together here, PNG and SVG."
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), hidden=True)
def command(
    runs: tuple[str, ...],
    profile: str,
    tasks: tuple[str, ...],
    baseline: str | None,
    confidence: float,
    out: Path | None,
    plot: Path | None,
    config: Path | None,
) -> None:
    """Compare runs: what each took and came to, what was foreseen, and in which settings they differ.

    RUN is a recipe, of which the newest run counts, or a run's folder. Evaluations are compared by their answers to the
    same questions: differences with intervals, and how often each is ahead.
    """
    if config is not None:
        entries, options = _read_config(config)
    elif len(runs) < 2:
        raise click.UsageError("name two runs or more")
    elif baseline is not None and baseline not in runs:
        raise click.UsageError("--baseline is one of the runs that are named")
    else:
        entries = entries_of(find_project(), runs, profile)
        base = None if baseline is None else label_of(baseline, runs)
        entries.sort(key=lambda each: each.label != base)  # the others are held against the first
        options = Options(baseline=base, tasks=tasks or None, confidence=confidence)
    found = compare(entries, options)
    for line in page(found):
        click.echo(line)
    if out is not None:
        from runner.report.comparison_plots import draw

        found.write(out)
        draw(found, out)
        click.echo(f"tables and figures: {shown_path(str(out))}")
    if plot is not None:
        _draw_losses(found, plot)
    if config is not None:
        with Path(METRICS).open("a") as metrics:
            metrics.write(json.dumps({"time": time.time(), "headline": _headline(found)}) + "\n")


def page(found: Comparison) -> list[str]:
    """The tables as a terminal shows them."""
    lines = [] if found.runs and not found.pairs.rows else _columns(found.scores)
    for name, table in {"differences": found.pairs, **found.others}.items():
        if table.rows:
            lines += ["", name, *_columns(table), *(f"note: {note}" for note in table.notes)]
    return lines[1:] if lines and not lines[0] else lines


def _draw_losses(found: Comparison, target: Path) -> None:
    """Raises Refused (R472) where none of the runs reported a loss."""
    if not any(run.losses for run in found.runs):
        raise Refused(
            Diagnostic(
                "R472",
                "none of these runs reported a loss, so there are no curves to draw",
                Span("<command line>"),
                help="`--plot` is for runs that train; `--out` draws what evaluations scored",
            )
        )
    from runner.report.comparison_plots import draw_losses
    from runner.report.figure import write_figure

    for file in write_figure((7.2, 4.4), lambda figure: draw_losses(figure, found.runs), target):
        click.echo(shown_path(str(file)))


def _columns(table: Table) -> list[str]:
    cells = [table.columns, *([shown(row.get(column)) for column in table.columns] for row in table.rows)]
    if (
        table.columns[0] == "run" and len(table.rows) < len(table.columns) and len(table.rows) <= 8
    ):  # few runs, many scores: a line for each score
        cells = [list(line) for line in zip(*cells, strict=True)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _headline(found: Comparison) -> str:
    clear = sum(row["clear"] for row in found.pairs.rows)
    told = f"{clear} of {len(found.pairs.rows)} differences are clear" if found.pairs.rows else "no pairs"
    if found.runs and not found.pairs.rows:
        told = f"settings that differ: {len(found.others['settings'].rows)}"
    return f"{len(found.scores.rows)} runs, {told}"


def _read_config(file: Path) -> tuple[list[Entry], Options]:
    given = json.loads(file.read_text())
    entries = [
        Entry(
            each["label"],
            **{key: Path(each[key]) for key in ("results", "gate", "bench", "run") if key in each},
            origins=origins(Path(each["run"])) if "run" in each else {},
        )
        for each in given["runs"]
    ]
    known = {key: given[key] for key in ("baseline", "confidence", "resamples", "seed") if key in given}
    return entries, Options(tasks=tuple(given["tasks"]) if "tasks" in given else None, **known)
