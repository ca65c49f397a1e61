"""`runner calibrate`: refit the plan's efficiencies from measurements, and show what that changes."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click

from runner.cli.bar import working
from runner.plan.calibrate import Calibration, Error, calibrate
from runner.plan.efficiency import FILE, Efficiency, load_efficiency
from runner.plan.measured import Measurement, read_records, read_table
from runner.project import Project, find_project, shipped


@click.command()
@click.argument(
    "tables", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[TABLE.csv]..."
)
@click.option("--write", is_flag=True, help="Keep the new efficiencies in the project's data/efficiency.yaml.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(tables: tuple[Path, ...], write: bool, as_json: bool) -> None:
    """Refit the plan's efficiencies from data/measured/*.csv, this project's run records, and any further table.

    The error after is honest: for speed each source is predicted by a fit that has not seen it.
    """
    project = find_project()
    before = load_efficiency(project.root)
    known = measurements(project, tables)
    try:
        with working("fitting to what was measured"):
            done = calibrate(known, before)
    except ValueError as error:
        raise click.ClickException(f"{error}: `runner probe RECIPE --write` measures one on this machine") from None
    if as_json:
        click.echo(json.dumps({"fitted": asdict(done.fitted), "sources": _rows(done)}, indent=1))
    else:
        _tell(done)
    if write:
        file = write_efficiency(project, before, done)
        click.echo(f"wrote {file}", err=as_json)


def measurements(project: Project, tables: tuple[Path, ...]) -> list[Measurement]:
    folders = dict.fromkeys((shipped("data") / "measured", project.root / "data" / "measured"))
    files = [file for folder in folders for file in sorted(folder.glob("*.csv"))]
    found = [m for file in [*files, *tables] for m in read_table(file)]
    return found + list(read_records(project.artifacts))


def _rows(done: Calibration) -> list[dict[str, object]]:
    listed = [*done.by_source.items(), ("all", done.total)]
    return [
        {"source": source, "figure": figure, "before": asdict(old), "after": asdict(new)}
        for source, figures in listed
        for figure, (old, new) in figures.items()
    ]


def _tell(done: Calibration) -> None:
    click.echo(f"{'source':<24} {'figure':<9} {'rows':>5}  {'before: median, 90%':>20}  {'after: median, 90%':>20}")
    for source, figures in [*done.by_source.items(), ("all", done.total)]:
        for figure, (old, new) in figures.items():
            click.echo(f"{source:<24} {figure:<9} {old.count:>5}  {_pair(old):>20}  {_pair(new):>20}")
    click.echo("\nerrors are absolute; `after` for speed: each source predicted by a fit that has not seen it")


def _pair(error: Error) -> str:
    return f"{error.median:.1%}, {error.covered:.1%}"


def write_efficiency(project: Project, before: Efficiency, done: Calibration) -> Path:
    """The new factors, with those before and both errors beside them."""
    import yaml

    file = project.root / "data" / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "fitted": date.today().isoformat(),
        "sources": {s: max(e.count for e, _ in figures.values()) for s, figures in done.by_source.items()},
        "error": {
            name: {"before": round(old.median, 4), "after": round(new.median, 4), "covered": round(new.covered, 4)}
            for name, (old, new) in done.total.items()
        },
        **asdict(done.fitted),
        "previous": asdict(before),
    }
    head = "# Time taken / time at the hardware's peak rate, by kind of work. Written by `runner calibrate --write`.\n"
    file.write_text(head + yaml.safe_dump(content, sort_keys=False))
    return file
