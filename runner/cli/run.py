"""`runner run`: check, render, run, record."""

from __future__ import annotations

import click

from runner.cli.common import open_recipe, profile_option, recipe_argument, set_option
from runner.cli.output import print_diagnostics
from runner.cli.progress import RunView, build_view
from runner.diagnostics import shown_path
from runner.engines import load_engine
from runner.engines.environment import ensure, environment
from runner.launch.supervise import Outcome, execute, prepare, refuse_machine
from runner.recipe.resolve import refuse_missing


@click.command()
@recipe_argument
@profile_option
@set_option
@click.option("--force", is_flag=True, help="Run again even where a finished run of the same recipe is there.")
@click.pass_context
def command(ctx: click.Context, recipe: str, profile: str, sets: tuple[str, ...], force: bool) -> None:
    """Run a recipe on this machine and record what happened.

    A finished run of the unchanged recipe is not run again; an unfinished one goes on from its newest checkpoint.
    Exit code 4 when the engine failed.
    """
    project, opened, warnings = open_recipe(recipe, profile, sets)
    print_diagnostics(warnings)
    refuse_missing(opened)
    refuse_machine(project, opened)
    plan = prepare(project, opened, force=force, as_written=not sets)
    if plan.finished is not None:
        click.echo(f"{opened.name} ({profile}): up to date, run {plan.finished.id}")
        return
    env = environment(load_engine(opened.engine).ENVIRONMENT)
    if not env.ready:
        with build_view(env) as report:
            ensure(env, report)
    with RunView(opened, load_engine(opened.engine).steps(opened)) as view:
        outcome = execute(project, opened, plan, view.watch)
    _tell(outcome, opened.name)
    if outcome.status != "finished":
        ctx.exit(130 if outcome.status == "interrupted" else 4)


def _tell(outcome: Outcome, name: str) -> None:
    where = shown_path(str(outcome.run))
    if outcome.status == "finished":
        click.echo(f"{name}: finished in {outcome.seconds:.0f} s, {outcome.headline}")
        for output in outcome.outputs:
            size = output["bytes"] / 1024**2
            click.echo(f"  {output['name']} ({output['type']}, {size:,.1f} MiB): {where}/{output['path']}")
    elif outcome.status == "interrupted":
        click.echo(f"{name}: interrupted; run it again to go on from the newest checkpoint", err=True)
    else:
        click.echo(f"error: {name}: the engine failed in step `{outcome.part}` (exit code {outcome.code})", err=True)
        click.echo(f"  = {outcome.error}", err=True)
        click.echo(f"  = log: {where}/log.txt", err=True)
