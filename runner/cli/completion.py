"""`runner completion`: the script by which a shell completes the runner's commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from runner.cli.completing import Word

VARIABLE = "_RUNNER_COMPLETE"


@click.command()
@click.argument("shell", type=Word(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what makes SHELL complete commands, options, recipes, runs, codes and boxes after `runner`."""
    from runner.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "runner", VARIABLE).source())
