"""`runner report`: all runs as one page, to keep or to watch."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from runner.cli.output import counted
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import Project, find_project
from runner.recipe.load import Refused

FILE = "report.html"
PORT = 8700


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write here; artifacts/report.html if not."
)
@click.option("--watch", is_flag=True, help="Serve it on this machine instead, and keep it new, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="With --watch; 0: any.")
def command(out: Path | None, watch: bool, port: int) -> None:
    """Make one HTML page of all runs: the plan's deliverables, losses, predictions, comparisons, lineage.

    It needs no network and nothing beside it: keep it, send it, open it on a phone.
    """
    project = find_project()
    if watch:
        if out is not None:
            raise click.UsageError("--out writes the page once, --watch serves it: choose one")
        _watch(project, port)
        return
    from runner.report.page.contents import contents
    from runner.report.page.html import html, write_page

    target = out or project.artifacts / FILE
    found = contents(project)
    try:
        write_page(html(found), target)
    except OSError as error:
        raise Refused(
            Diagnostic(
                "R474",
                f"the page can't be written: {error.strerror or error}",
                Span(str(target)),
                help="choose another place with --out",
            )
        ) from None
    size = target.stat().st_size / 1e6
    click.echo(f"{shown_path(str(target))}: {counted(len(found.lines) + found.left_out, 'run')}, {size:.1f} MB")


def _watch(project: Project, port: int) -> None:
    from runner.report.page.watching import watching

    with watching(project, port) as (address, server), _ends_quietly():
        click.echo(f"{address} shows all runs as they go; Ctrl-C ends it")
        server.serve_forever(poll_interval=0.2)
    click.echo("ended")


@contextmanager
def _ends_quietly() -> Iterator[None]:
    """Being told to stop is how it is meant to end, by Ctrl-C or by whoever started it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
