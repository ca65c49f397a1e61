"""`runner reproduce`: a recorded run once more, and what came out otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import click

from runner.cli.common import profile_option
from runner.cli.progress import RunView, build_view
from runner.diagnostics import shown_path
from runner.engines.environment import ensure
from runner.launch.reproduce import needed_environments, refuse_unrepeatable, reproduce
from runner.project import find_project
from runner.provenance.compare_runs import Row, compare_runs, same
from runner.provenance.find import find_run
from runner.record import LOG, Run


@dataclass(frozen=True, slots=True)
class _Title:
    name: str
    profile: str


@click.command()
@click.argument("name", metavar="RUN")
@profile_option
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Of metrics, relative. 0 asks for the same bytes; above 0, as on GPUs, bytes of outputs do not decide.",
)
@click.option("--against", metavar="RUN", help="Run nothing: compare with this run, made before.")
@click.pass_context
def command(ctx: click.Context, name: str, profile: str, tolerance: float, against: str | None) -> None:
    """Run RUN again from its directory alone, in a new one, and compare outputs, metrics and the loss of each step.

    RUN is a run's directory, or a recipe, of which the newest finished run is taken. The recipe's file is not read; the
    environment is the one that the run had, by its hash.

    Exit code 0 where it is the same, 1 where something differs, 4 where the engine failed.
    """
    project = find_project()
    run = find_run(project, name, profile)
    if against is not None:
        again = find_run(project, against, profile)
    else:
        refuse_unrepeatable(project, run)
        needed = needed_environments(run)
        for need in needed:
            if not need.env.ready:
                with build_view(need.env) as report:
                    ensure(need.env, report, need.lock)
        with RunView(_Title(str(run.record["recipe"]), str(run.record["profile"])), ()) as view:
            again, ended = reproduce(project, run, needed, view.watch)
        if again.status != "finished":
            click.echo(f"error: it ended {again.status} (exit code {ended.code}), which the run did not", err=True)
            click.echo(f"  = log: {shown_path(str(again.path / LOG))}", err=True)
            ctx.exit(130 if ended.interrupted else 4)
    rows = compare_runs(run, again, tolerance)
    _tell(run, again, rows, tolerance)
    if not same(rows):
        ctx.exit(1)


def _tell(run: Run, again: Run, rows: list[Row], tolerance: float) -> None:
    click.echo(f"run       {shown_path(str(run.path))}")
    click.echo(f"again     {shown_path(str(again.path))}, {again.record['seconds']:.0f} s")
    counts = [(part, [r for r in rows if r.part == part]) for part in ("output", "metric", "curve")]
    asked = "exactly" if not tolerance else f"metrics to {tolerance:g}, relative"
    click.echo(f"compared  {', '.join(f'{len(found)} {_plural(part, found)}' for part, found in counts)}, {asked}")
    differ = [row for row in rows if not row.same]
    if differ:
        head = [Row("part", "what", "run", "again", False), *differ]
        widths = [max(len(cell) for cell in column) for column in zip(*map(_cells, head), strict=True)]
        for row in head:
            click.echo("  " + "  ".join(f"{c:<{w}}" for c, w in zip(_cells(row), widths, strict=True)).rstrip())
    aside = sum(1 for row in differ if not row.decides)
    decided = len(differ) - aside
    also = f"; {aside} that do not decide" if aside else ""
    click.echo(f"result    {f'differs in {decided}' if decided else 'the same'}{also}")


def _plural(part: str, found: list[Row]) -> str:
    return {"output": "output files", "metric": "metrics", "curve": "curves"}[part].removesuffix(
        "s" if len(found) == 1 else ""
    )


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.part, row.name, row.before, row.after
