"""`runner compare`: evaluations side by side; the launch.sh of kind `compare` calls it too."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from runner.cli.common import profile_option
from runner.comparison.compare import Comparison, Entry, Options, compare
from runner.comparison.tables import Table, shown
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project, valid_name
from runner.recipe.load import Refused, find_recipe
from runner.record import METRICS, latest, read_run


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN RUN...")
@profile_option
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Compare this task or group alone; repeatable.")
@click.option("--baseline", metavar="RUN", help="Compare all others with this one, instead of every pair.")
@click.option(
    "--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95, show_default=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write tables and figures here.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), hidden=True)
def command(
    runs: tuple[str, ...],
    profile: str,
    tasks: tuple[str, ...],
    baseline: str | None,
    confidence: float,
    out: Path | None,
    config: Path | None,
) -> None:
    """Compare what evaluations came to: differences on the same documents, with intervals, and how often each is ahead.

    RUN is a recipe of kind `eval`, of which the newest run counts, a run's folder, or a folder with a summary.json.
    """
    if config is not None:
        entries, options = _read_config(config)
    elif len(runs) < 2:
        raise click.UsageError("name two runs or more")
    elif baseline is not None and baseline not in runs:
        raise click.UsageError("--baseline is one of the runs that are named")
    else:
        entries = [Entry(_label(run, runs), results=_results(run, profile)) for run in runs]
        base = None if baseline is None else _label(baseline, runs)
        options = Options(baseline=base, tasks=tasks or None, confidence=confidence)
    found = compare(entries, options)
    for line in page(found):
        click.echo(line)
    if out is not None:
        from runner.report.comparison_plots import draw

        found.write(out)
        draw(found, out)
        click.echo(f"tables and figures: {shown_path(str(out))}")
    if config is not None:
        with Path(METRICS).open("a") as metrics:
            metrics.write(json.dumps({"time": time.time(), "headline": _headline(found)}) + "\n")


def page(found: Comparison) -> list[str]:
    """The tables as a terminal shows them."""
    lines = _columns(found.scores)
    for name, table in {"differences": found.pairs, **found.others}.items():
        if table.rows:
            lines += ["", name, *_columns(table), *(f"note: {note}" for note in table.notes)]
    return lines


def _columns(table: Table) -> list[str]:
    cells = [table.columns, *([shown(row.get(column)) for column in table.columns] for row in table.rows)]
    if len(table.rows) < len(table.columns) and len(table.rows) <= 8:  # few runs, many scores: a line for each score
        cells = [list(line) for line in zip(*cells, strict=True)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _headline(found: Comparison) -> str:
    clear = sum(row["clear"] for row in found.pairs.rows)
    told = f"{clear} of {len(found.pairs.rows)} differences are clear" if found.pairs.rows else "no pairs"
    return f"{len(found.scores.rows)} runs, {told}"


def _read_config(file: Path) -> tuple[list[Entry], Options]:
    given = json.loads(file.read_text())
    entries = [
        Entry(each["label"], **{key: Path(each[key]) for key in ("results", "gate", "bench") if key in each})
        for each in given["runs"]
    ]
    known = {key: given[key] for key in ("baseline", "confidence", "resamples", "seed") if key in given}
    return entries, Options(tasks=tuple(given["tasks"]) if "tasks" in given else None, **known)


def _label(run: str, runs: tuple[str, ...]) -> str:
    """The last part that tells it from the others."""
    short = run.rstrip("/").rpartition("/")[2]
    same = sum(other.rstrip("/").rpartition("/")[2] == short for other in runs)
    return run if same > 1 else short


def _results(run: str, profile: str) -> Path:
    """The folder of results that a recipe's name, or a path, stands for."""
    for folder in (Path(run), Path(run) / "results"):
        if (folder / "summary.json").is_file():
            return folder
    if Path(run).is_dir() and read_run(Path(run)) is not None:
        return Path(run) / "results"  # a run of something else: reading it says so
    project = find_project()
    name = project.recipe_name(find_recipe(project, run)) if valid_name(run) or Path(run).is_file() else run
    newest = latest(project, name, profile) if valid_name(name) else None
    if newest is None:
        raise Refused(
            Diagnostic(
                "R410",
                f"`{name}` has not run in profile `{profile}` yet",
                Span("<command line>"),
                help=f"`make recipe R={name}` runs it, or name a run's folder",
            )
        )
    return newest / "results"
