"""`runner gc`: free space, and keep what something else needs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import click

from runner.diagnostics import shown_path
from runner.engines.environment import environments
from runner.launch.gc import PIN, Item, Policy, collect, plan_gc, started
from runner.project import Project, find_project
from runner.provenance.find import find_run

_AGE = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
KEEP = 3


def age(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """`12h`, `30d`, `8w`."""
    if value is None:
        return None
    found = _AGE.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value[:40]!r} is no age; for instance 12h, 30d or 8w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.command()
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=KEEP,
    show_default=True,
    help="Newest finished runs to keep of each recipe and profile.",
)
@click.option("--older-than", "older", callback=age, metavar="AGE", help="Only what began longer ago: 12h, 30d, 8w.")
@click.option("--failed", is_flag=True, help="Failed, interrupted and stopped runs too.")
@click.option("--checkpoints", is_flag=True, help="And the checkpoints of finished runs that stay.")
@click.option("--yes", is_flag=True, help="Do it. Without this nothing is removed.")
@click.option("--pin", "pins", multiple=True, metavar="RUN", help="Never remove this run; removes nothing now.")
@click.option("--unpin", "unpins", multiple=True, metavar="RUN", help="Take that back.")
def command(
    keep: int,
    older: timedelta | None,
    failed: bool,
    checkpoints: bool,
    yes: bool,
    pins: tuple[str, ...],
    unpins: tuple[str, ...],
) -> None:
    """Show which runs could go, and why the others stay; with --yes remove them.

    Whatever else is asked, these stay: the newest of each recipe, what a run that stays was made from, what a lock
    names, what runs or is served, and pinned runs.
    """
    project = find_project()
    if pins or unpins:
        _pin(project, pins, unpins)
        return
    items = plan_gc(project, Policy(keep, older, failed, checkpoints))
    if not items:
        click.echo("there are no runs")
        return
    _table(items)
    going = [item for item in items if item.remove]
    if yes:
        freed = 0
        for item in collect(project, items):
            freed += item.bytes
        click.echo(f"freed {_size(freed)}")
    elif going:
        click.echo(f"{_size(sum(item.bytes for item in going))} would be freed; nothing was removed: add --yes")
    else:
        click.echo("nothing to remove")
    stale = sum(kept.bytes for kept in environments() if not kept.current and not kept.holder)
    if stale:
        click.echo(f"stale engine environments hold {_size(stale)}: `runner env remove --stale`")


def _pin(project: Project, pins: tuple[str, ...], unpins: tuple[str, ...]) -> None:
    for name in pins:
        run = find_run(project, name)
        (run.path / PIN).write_text("`runner gc` keeps this run. `runner gc --unpin` takes that back.\n")
        click.echo(f"pinned {shown_path(str(run.path))}")
    for name in unpins:
        run = find_run(project, name)
        (run.path / PIN).unlink(missing_ok=True)
        click.echo(f"no longer pinned: {shown_path(str(run.path))}")


def _table(items: list[Item]) -> None:
    now = datetime.now(timezone.utc)
    rows = [("", "run", "status", "age", "size", "why")]
    for item in sorted(items, key=lambda i: (not i.remove, i.run.path)):
        what = shown_path(str(item.run.path))
        what += f" ({len(item.part)} checkpoints)" if item.part else ""
        old = _age(now - started(item.run))
        rows.append(("remove" if item.remove else "keep", what, item.run.status, old, _size(item.bytes), item.why))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        words = [f"{cell:<{width}}" for cell, width in zip(row[:3], widths[:3], strict=True)]
        numbers = [f"{cell:>{width}}" for cell, width in zip(row[3:5], widths[3:], strict=True)]
        click.echo("  ".join([*words, *numbers, row[5]]).rstrip())


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _age(age: timedelta) -> str:
    if age.days:
        return f"{age.days}d"
    return f"{age.seconds // 3600}h" if age.seconds >= 3600 else f"{age.seconds // 60}m"
