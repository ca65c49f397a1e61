"""`runner optimal`: what to train with a budget, by a law that `runner fit` fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli import completing
from runner.cli.common import check_recipe
from runner.cli.output import print_diagnostics
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.facts.boxes import Box
from runner.project import Project, find_project
from runner.recipe.box_file import find_box
from runner.recipe.check import DEFAULT_BOX
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe

if TYPE_CHECKING:
    from runner.plan.types import Plan
    from runner.recipe.resolve import Recipe
    from runner.scaling.advice import Advice, Planner
    from runner.scaling.shape import Shape

BASE = "phase1/gpt-1b"


@click.command()
@click.option(
    "--fit", "fit_file", type=click.Path(path_type=Path), required=True, metavar="FIT.json", help="From `runner fit`."
)
@click.option(
    "--flops", type=click.FloatRange(0, min_open=True), metavar="C", help="The budget, as 6 x params x tokens."
)
@click.option("--hours", type=click.FloatRange(0, min_open=True), metavar="H", help="The budget, as time on the box.")
@click.option(
    "--box",
    "box_name",
    metavar="NAME|PATH",
    shell_complete=completing.boxes,
    help=f"The machine.  [with --hours: {DEFAULT_BOX}]",
)
@click.option(
    "--recipe", "recipe_name", default=BASE, show_default=True, metavar="RECIPE", help="Vocabulary, batch and all else."
)
@click.option("--unique-tokens", type=click.FloatRange(0, min_open=True), metavar="N", help="How much data there is.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    fit_file: Path,
    flops: float | None,
    hours: float | None,
    box_name: str | None,
    recipe_name: str,
    unique_tokens: float | None,
    as_json: bool,
) -> None:
    """Recommend parameters, tokens and a model for a budget, with its interval.

    The model is Llama-shaped, counted to the parameter, and printed as the `architecture:` of a recipe. Hours become
    FLOPs by the speed that `runner plan` foretells for that very model on the box.
    """
    from runner.scaling.advice import for_flops, for_hours
    from runner.scaling.as_json import read_fit

    if (flops is None) == (hours is None):
        raise click.UsageError("give the budget as --flops or as --hours")
    estimate, data = read_fit(fit_file)
    if unique_tokens is not None and estimate.law != "data-constrained":
        raise click.UsageError("--unique-tokens needs a fit of the data-constrained law")
    project = find_project()
    recipe, base = _base(project, recipe_name)
    box = _box(project, box_name or (DEFAULT_BOX if hours is not None else None))
    planner = _planner(recipe, box) if box is not None else None
    if hours is not None and planner is not None:
        advice = for_hours(estimate, data, hours, base, planner, unique_tokens)
    else:
        assert flops is not None
        advice = for_flops(estimate, data, flops, base, _step_tokens(recipe), planner, unique_tokens)
    _tell(advice, estimate.law, fit_file, as_json)


def _base(project: Project, name: str) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that all but the model is taken from, and its `architecture`. Raises Refused."""
    from runner.recipe.resolve import resolve
    from runner.record import latest

    library = Library(project)
    doc, found = check_recipe(library, find_recipe(project, name))
    if doc is None or any(d.is_error for d in found):
        raise Refused(*found)
    recipe = resolve(project, doc, "full", lambda r, p: latest(project, r, p), library=library)
    if recipe.architecture is None:
        raise Refused(
            Diagnostic(
                "R807",
                f"`{name}` has no `architecture`",
                Span(doc.file),
                notes=("the model for the budget takes its vocabulary and context from there",),
                help="name a recipe that trains from scratch, such as `phase1/gpt-1b`",
            )
        )
    return recipe, dict(recipe.architecture)


def _box(project: Project, name: str | None) -> Box | None:
    if name is None:
        return None
    told: list[Diagnostic] = []
    box = find_box(name, project.root, told)
    print_diagnostics(told)
    return box


def _planner(recipe: Recipe, box: Box) -> Planner:
    """Plans of the recipe with another model on that box."""
    from dataclasses import replace

    from runner.facts.models import from_config
    from runner.plan.make import make_plan

    def plan(shape: Shape) -> Plan:
        model = from_config(shape.config, "the model")
        values = {**recipe.values, "architecture": shape.config}
        return make_plan(replace(recipe, values=values, architecture=shape.config, model=model, box=box), box)

    return plan


def _step_tokens(recipe: Recipe) -> int:
    """Of one optimizer step of the recipe on its own box."""
    from runner.plan.reading import read_workload

    return read_workload(recipe, None).step_tokens


def _tell(advice: Advice, law: str, fit_file: Path, as_json: bool) -> None:
    from runner.cli.fit import ink
    from runner.report.optimal_text import page
    from runner.scaling.as_json import advice_to_json, dump

    if as_json:
        click.echo(dump(advice_to_json(advice, law)))
    else:
        click.echo("\n".join(page(advice, law, shown_path(str(fit_file)), ink())))
