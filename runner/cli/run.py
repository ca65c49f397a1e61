"""`runner run`: check, plan, render, run, record."""

from __future__ import annotations

from dataclasses import replace

import click

from runner.cli.common import causes, open_recipe, profile_option, recipe_argument, set_option
from runner.cli.output import print_diagnostics
from runner.cli.progress import RunView, build_view
from runner.diagnostics import Diagnostic, shown_path
from runner.engines import environments_of, load_engine
from runner.engines.environment import ensure, environment
from runner.launch.measured import foreseen, foreseen_otherwise, predicted
from runner.launch.outcome import Outcome
from runner.launch.sandbox import refuse_sandbox
from runner.launch.shards import refuse_shards
from runner.launch.supervise import Prepared, execute, prepare, refuse_machine
from runner.plan.types import Plan
from runner.project import Project
from runner.provenance.locked import refuse_stale_lock
from runner.recipe.kinds import serves
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, refuse_missing
from runner.record import latest


@click.command()
@recipe_argument
@profile_option
@set_option
@click.option("--force", is_flag=True, help="Run again even where a finished run of the same recipe is there.")
@click.option("--anyway", is_flag=True, help="Run even where the plan says that it can't fit.")
@click.option("--wait", is_flag=True, help="Wait while another run has this recipe or its GPUs, rather than refuse.")
@click.option(
    "--as", "name", metavar="NAME", help="Keep the run under this name in artifacts/; for a sweep's children."
)
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str,
    profile: str,
    sets: tuple[str, ...],
    force: bool,
    anyway: bool,
    wait: bool,
    name: str | None,
) -> None:
    """Run a recipe on this machine and record what happened.

    A finished run of the unchanged recipe is not run again; an unfinished one goes on from its newest whole
    checkpoint. What the plan says can't fit is refused (R201). Exit code 4 when the engine failed.
    """
    project, opened, warnings = open_recipe(recipe, profile, sets, name)
    print_diagnostics(warnings)
    refuse_served(opened)
    refuse_missing(opened)
    refuse_stale_lock(project, opened, sets=bool(sets))
    refuse_machine(project, opened)
    refuse_shards(opened)
    refuse_sandbox(opened)
    prepared = prepare(project, opened, force=force, as_written=not sets, child=name is not None)
    if prepared.finished is not None:
        click.echo(f"{opened.name} ({profile}): up to date, run {prepared.finished.id}")
        return
    plan = foreseen(opened)
    if not anyway:
        refuse_too_large(plan, opened)
        refuse_large_children(project, opened)
    outcome = run_prepared(project, opened, prepared, plan, wait=wait)
    _tell(outcome, opened.name)
    if outcome.status != "finished":
        ctx.exit(130 if outcome.status == "interrupted" else 4)


def refuse_served(recipe: Recipe) -> None:
    """Raises Refused (R917) for a recipe that is served until it is stopped."""
    if serves(recipe.kind):
        kind = replace(recipe.doc.keys["kind"].span)
        help = f"`make serve MODEL={recipe.name}` starts it"
        raise Refused(Diagnostic("R917", f"`{recipe.name}` is not run but served", kind, help=help))


def refuse_too_large(plan: Plan | None, recipe: Recipe) -> None:
    """Raises Refused (R201) where the plan can't fit its box; the smoke profile fits anywhere."""
    from runner.plan.verdict import refuse_unfit

    if plan is not None and recipe.profile != "smoke":
        refuse_unfit(plan, recipe)


def refuse_large_children(project: Project, recipe: Recipe) -> None:
    """Raises Refused (R201) where a child of a sweep can't fit its box: all of them are known before the first runs."""
    from runner.plan.reading import Unplannable
    from runner.plan.sweep import make_sweep_plan, unfit_children

    if not recipe.children or recipe.profile == "smoke":
        return
    try:
        plan = make_sweep_plan(project, recipe, lambda r, p: latest(project, r, p))
    except (Unplannable, ValueError):
        return
    if found := unfit_children(plan):
        raise Refused(*found)


def run_prepared(
    project: Project, recipe: Recipe, prepared: Prepared, plan: Plan | None, *, wait: bool = False
) -> Outcome:
    """Builds the engine's environment where it is not there yet, and shows the run as it goes."""
    engine = load_engine(recipe.engine)
    for env in map(environment, environments_of(recipe)):
        if not env.ready:
            with build_view(env) as report:
                ensure(env, report)
    with RunView(recipe, engine.steps(recipe)) as view:
        told = predicted(plan) if plan is not None else foreseen_otherwise(project, recipe)
        waiting = view.waiting if wait else None
        return execute(project, recipe, prepared, view.watch, told, tell=view.tell, waiting=waiting)


def _tell(outcome: Outcome, name: str) -> None:
    where = shown_path(str(outcome.run))
    if outcome.status == "finished":
        click.echo(f"{name}: finished in {outcome.seconds:.0f} s, {outcome.headline}")
        for output in outcome.outputs:
            size = output["bytes"] / 1024**2
            click.echo(f"  {output['name']} ({output['type']}, {size:,.1f} MiB): {where}/{output['path']}")
    else:
        tell_failure(outcome, name)
    if outcome.comparison:
        click.echo(f"  {outcome.comparison}")


def tell_failure(outcome: Outcome, name: str) -> None:
    """What the engine said, and of a failure that we know the cause, the knob and what the plan says of it."""
    where = shown_path(str(outcome.run))
    if outcome.status == "interrupted":
        click.echo(f"{name}: interrupted; run it again to go on from the newest checkpoint", err=True)
        return
    click.echo(f"error: {name}: the engine failed in step `{outcome.part}` (exit code {outcome.code})", err=True)
    told = [outcome.error]
    line = ""
    if outcome.failure is not None:
        told.append(f"what: {outcome.failure['title']}")
        told += causes(outcome.run)
        line = f":{outcome.failure['line']}" if outcome.failure["line"] else ""
    told += [f"log: {where}/log.txt{line}", f"`runner why {name}` shows it again, with the lines of the log"]
    for words in told:
        click.echo(f"  = {words}", err=True)
