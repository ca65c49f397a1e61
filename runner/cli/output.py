"""Printing diagnostics; the only place that knows about terminals and colours."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from runner.diagnostics import Diagnostic, SourceLines, ansi, render_github, render_json, render_text

if TYPE_CHECKING:
    from runner.report.ink import Ink


def wants_colour(stream: object) -> bool:
    tty = getattr(stream, "isatty", lambda: False)()
    return bool(tty) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_ink() -> Ink:
    """For stdout: its colours, and its width between 60 and 100 columns."""
    from runner.report.ink import Ink

    if not wants_colour(sys.stdout):
        return Ink()
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return Ink(colour=unicode, width=max(60, min(100, shutil.get_terminal_size().columns)))


def print_diagnostics(diagnostics: Iterable[Diagnostic], style: str = "text") -> None:
    """Text goes to stderr; JSON, SARIF and GitHub annotations, which programs read, to stdout."""
    listed = list(diagnostics)
    if style == "sarif":
        from runner.cli.sarif import render_sarif

        click.echo(render_sarif(listed))
        return
    if style == "json":
        click.echo(render_json(listed))
        return
    if style == "github":
        for d in listed:
            click.echo(render_github(d))
        return
    sources = SourceLines()
    colour = {"style": ansi} if wants_colour(sys.stderr) else {}
    for d in listed:
        click.echo(render_text(d, sources, **colour), err=True)
        click.echo(err=True)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def verdict(diagnostics: Iterable[Diagnostic], recipes: int) -> str:
    """`24 recipes: 1 error, 2 warnings`."""
    listed = list(diagnostics)
    errors = sum(d.is_error for d in listed)
    warnings = len(listed) - errors
    parts = [counted(errors, "error")] if errors else []
    parts += [counted(warnings, "warning")] if warnings else []
    return f"{counted(recipes, 'recipe')}: {', '.join(parts) if parts else 'ok'}"
