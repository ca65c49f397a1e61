"""`runner render`: what a run would execute, written or printed, and nothing run."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.common import box_option, open_recipe, profile_option, recipe_argument, set_option
from runner.cli.output import print_diagnostics
from runner.record import write_files
from runner.render import render


@click.command()
@recipe_argument
@profile_option
@set_option
@box_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write the files into this folder.")
@click.option("--file", "only", metavar="NAME", help="Print one file, for instance launch.sh.")
def command(
    recipe: str, profile: str, sets: tuple[str, ...], box_name: str | None, out: Path | None, only: str | None
) -> None:
    """Render a recipe's launcher and configs, which are exactly what `runner run` executes."""
    _, opened, warnings = open_recipe(recipe, profile, sets, box_name=box_name)
    print_diagnostics(warnings)
    files = render(opened)
    if only is not None:
        if only not in files:
            raise click.UsageError(f"no file {only!r}; there are {', '.join(files)}")
        click.echo(files[only], nl=False)
    elif out is not None:
        write_files(out, files)
        click.echo(f"{len(files)} files in {out}")
    else:
        for name, text in files.items():
            if not name.startswith("jobs/"):
                click.echo(f"--- {name}\n{text}")
