"""`runner probe`: a few steps of a recipe on this machine, the plan's figures beside what was measured."""

from __future__ import annotations

import json
import shutil
from typing import Any

import click

from runner.cli.common import open_recipe, profile_option, recipe_argument, set_option
from runner.cli.output import print_diagnostics
from runner.cli.run import refuse_too_large, run_prepared, tell_failure
from runner.diagnostics import shown_path
from runner.launch.measured import foreseen, predicted, side_by_side
from runner.launch.outcome import Outcome
from runner.launch.supervise import prepare_probe, refuse_machine
from runner.launch.table import append, row, table_file
from runner.plan.types import Plan
from runner.project import find_project
from runner.recipe.compose import compose
from runner.recipe.kinds import kind_names, kind_schema
from runner.recipe.naming import find_recipe
from runner.recipe.resolve import refuse_missing
from runner.record import read_run

# Off: whatever would interrupt the steps or outlast them. `null` takes a key away.
_OFF = (
    "val_set_size", "test_datasets", "eval_steps", "evals_per_epoch", "eval_strategy",
    "save_steps", "saves_per_epoch", "save_total_limit", "load_best_model_at_end", "early_stopping_patience",
    "warmup_ratio", "questions",
)  # fmt: skip
# what a run leaves that a probe has no use for
_LEFT = ("output", "prepared")


@click.command()
@recipe_argument
@click.option("--steps", type=click.IntRange(4, 10_000), default=20, show_default=True, help="Optimizer steps to take.")
@profile_option
@set_option
@click.option("--anyway", is_flag=True, help="Try even what the plan says can't fit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--write", is_flag=True, help="Append what was measured to the project's data/measured/<box>.csv.")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str,
    steps: int,
    profile: str,
    sets: tuple[str, ...],
    anyway: bool,
    as_json: bool,
    write: bool,
) -> None:
    """Measure a recipe for a few steps: memory, speed, host RAM.

    Evaluation, saving and merging are off. It is no run: nothing else ever starts from it, and it is kept, without its
    weights, in artifacts/.probes. Exit code 4 when the engine failed.
    """
    kind = _kind(recipe)
    if kind in kind_names() and "max_steps" not in kind_schema(kind)["properties"]:
        raise click.UsageError(f"a recipe of kind `{kind}` takes no optimizer steps; `runner plan` says what it takes")
    project, opened, warnings = open_recipe(recipe, profile, (*sets, *probe_settings(kind, steps)))
    print_diagnostics(warnings)
    refuse_missing(opened)
    refuse_machine(project, opened)
    plan = foreseen(opened)
    if not anyway:
        refuse_too_large(plan, opened)
    outcome = run_prepared(project, opened, prepare_probe(opened), plan)
    for name in _LEFT:
        shutil.rmtree(outcome.run / name, ignore_errors=True)
    run = read_run(outcome.run)
    if write and run is not None and outcome.status != "interrupted":
        append(table_file(project, opened.box.name), row(opened, run.record))
    click.echo(_json(outcome, plan) if as_json else _table(outcome, plan, opened.name))
    if outcome.status != "finished":
        if not as_json:
            tell_failure(outcome, opened.name)
        ctx.exit(130 if outcome.status == "interrupted" else 4)


def _kind(recipe: str) -> str:
    project = find_project()
    kind = compose(project, find_recipe(project, recipe)).keys.get("kind")
    return str(kind.value) if kind is not None else ""


def probe_settings(kind: str, steps: int) -> list[str]:
    """`--set`s that make a probe of any recipe of this kind."""
    known = kind_schema(kind)["properties"] if kind in kind_names() else {}
    wanted = dict.fromkeys(_OFF, "null") | {
        "max_steps": str(steps),
        "save_strategy": "no",
        "merge": "false",
        "warmup_steps": "1",
        "logging_steps": "1",
    }
    return [f"{key}={value}" for key, value in wanted.items() if key in known]


def _said(plan: Plan | None) -> dict[str, Any]:
    """What concerns the steps themselves: how long a whole run takes is another matter here."""
    found = predicted(plan) if plan is not None else {}
    return {name: value for name, value in found.items() if not name.startswith(("time.", "disk."))}


def _found(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in outcome.measured.items() if not name.startswith(("time.", "disk."))}


def _json(outcome: Outcome, plan: Plan | None) -> str:
    where = shown_path(str(outcome.run))
    told = {"status": outcome.status, "run": where, "error": outcome.error or None}
    return json.dumps({**told, "predicted": _said(plan), "measured": _found(outcome)}, indent=1)


def _table(outcome: Outcome, plan: Plan | None, name: str) -> str:
    rows = [("", "predicted", "measured"), *side_by_side(_said(plan), _found(outcome))]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
    return "\n".join([f"{name}: probed in {outcome.seconds:.0f} s, {shown_path(str(outcome.run))}", *lines])
