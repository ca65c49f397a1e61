"""`runner verify`: is a run still what its record says?"""

from __future__ import annotations

import click

from runner.cli.common import profile_option
from runner.cli.output import print_diagnostics
from runner.diagnostics import shown_path
from runner.project import find_project
from runner.provenance.find import find_run
from runner.provenance.verify import verify


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@profile_option
@click.option("--deep", is_flag=True, help="Read every file of the runs behind it too, and of prepared datasets.")
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], profile: str, deep: bool) -> None:
    """Check every output's hash, the rendered files, the record, and the runs that it stands on.

    RUN is a run's directory, or a recipe, of which the newest finished run is taken. Each difference is named; exit
    code 1 where there is one.
    """
    project = find_project()
    wrong = False
    for name in names:
        run = find_run(project, name, profile)
        found = verify(run, deep=deep)
        print_diagnostics(found)
        wrong |= bool(found)
        where = shown_path(str(run.path))
        if found:
            click.echo(f"{where}: {_count(len(found), 'difference')}", err=True)
            continue
        outputs = run.record.get("outputs", [])
        files = sum(len(output.get("files", ())) for output in outputs)
        size = sum(output["bytes"] for output in outputs) / 2**20
        counts = (
            f"{_count(len(outputs), 'output')} ({_count(files, 'file')}, {size:,.1f} MiB)",
            _count(len(run.record.get("files", {})), "rendered file"),
            _count(len(run.record.get("upstream", [])), "upstream run"),
        )
        click.echo(f"{where}: as recorded; {', '.join(counts)}")
    if wrong:
        ctx.exit(1)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
