"""`runner explain`: the long form of a diagnostic code."""

from __future__ import annotations

import click

from runner.cli.completing import codes
from runner.explained import long_form, source_of, titles
from runner.recipe.naming import nearest_word


@click.command()
@click.argument("code", required=False, shell_complete=codes)
def command(code: str | None) -> None:
    """Explain a code such as R004; without one, list them all."""
    if code is None:
        for each, title in titles().items():
            click.echo(f"{each}  {title}")
        return
    code = code.upper()
    if code not in titles():
        close = nearest_word(code, list(titles()))
        raise click.UsageError(f"there is no code {code}" + (f"; did you mean {close}?" if close else ""))
    click.echo(f"{code}: {titles()[code]}\n")
    click.echo(long_form(code))
    if source := source_of(code):
        click.echo(f"\nsource: {source}")
