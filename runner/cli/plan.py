"""`runner plan`: what a recipe will cost, before it costs anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from runner.cli.bar import over, working
from runner.cli.common import profile_option, set_option
from runner.cli.completing import boxes, recipes
from runner.cli.output import counted, print_diagnostics, terminal_ink
from runner.diagnostics import Diagnostic, Span
from runner.facts.boxes import Box
from runner.plan.any import AnyPlan, has_plan, plan_any
from runner.plan.as_json import search_to_json
from runner.plan.lenient import SENSELESS, open_any, senseless
from runner.plan.preparation import KIND as PREPARE
from runner.plan.quantization import KIND as QUANTIZE
from runner.plan.reading import Unplannable
from runner.plan.serving.recipe import compared, unfit_endpoint
from runner.plan.serving.types import ServingPlan
from runner.plan.sweep import SweepPlan, unfit_children
from runner.plan.types import Plan
from runner.plan.verdict import called, unfit
from runner.project import Project, find_project
from runner.recipe.artifacts import model_key
from runner.recipe.box_file import find_box
from runner.recipe.graph import Library
from runner.recipe.kinds import serves
from runner.recipe.load import Refused, printable
from runner.recipe.naming import find_recipe
from runner.recipe.resolve import Recipe
from runner.record import latest
from runner.report.any_plan import all_pages, all_to_json, page, to_json
from runner.report.serving_text import comparison


@click.command()
@click.argument("recipe", required=False, metavar="[RECIPE]", shell_complete=recipes)
@click.option(
    "--box",
    "box_name",
    metavar="NAME|PATH",
    shell_complete=boxes,
    help="Plan for this machine instead of the recipe's own.",
)
@profile_option
@set_option
@click.option("--price", type=click.FloatRange(min=0), metavar="USD", help="USD per hour of the whole box.")
@click.option("--all", "every", is_flag=True, help="A line for every recipe.")
@click.option("--fit", is_flag=True, help="Search the knobs for the fastest plan that fits.")
@click.option("--write", is_flag=True, help="With --fit: write the best into the recipe, comments kept.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; schemas/plan.schema.json describes it.")
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str | None,
    box_name: str | None,
    profile: str,
    sets: tuple[str, ...],
    price: float | None,
    every: bool,
    fit: bool,
    write: bool,
    as_json: bool,
) -> None:
    """Say whether a recipe fits its box, what fills the memory, how fast it goes, how long it takes, what it costs.

    RECIPE is a recipe's name, or the path of any Axolotl config. What `runner validate` would refuse is told, and
    planned all the same. Exit code 0 when it fits, 1 when it does not or can't be planned.
    """
    _refuse_combinations(recipe, profile, sets, every, fit, write)
    project = find_project()
    told: list[Diagnostic] = []
    box = find_box(box_name, project.root, told) if box_name else None
    print_diagnostics(told)
    if every:
        fits = _all(project, profile, box, price, as_json)
    else:
        opened, found = _open(Library(project, profile), find_recipe(project, str(recipe)), sets, box)
        if fit:
            _refuse_fit(opened)
            box = box if price is None else replace(box or opened.box, price_usd_per_hour=price)
            fits = _fit(project, opened, found, box, write=write, as_json=as_json)
        else:
            fits = _one(project, opened, found, box, price, as_json)
    if not fits:
        ctx.exit(1)


def _refuse_combinations(
    recipe: str | None, profile: str, sets: tuple[str, ...], every: bool, fit: bool, write: bool
) -> None:
    if bool(recipe) == every:
        raise click.UsageError("name a recipe, or give --all for every one")
    if every and (fit or sets):
        raise click.UsageError("--all goes with neither --fit nor --set")
    if write and not fit:
        raise click.UsageError("--write goes with --fit")
    if write and (sets or profile != "full"):
        raise click.UsageError("--write changes the recipe as it is written: it goes with neither --set nor --profile")


def _open(library: Library, file: Path, sets: tuple[str, ...], box: Box | None) -> tuple[Recipe, list[Diagnostic]]:
    return open_any(library, file, lambda r, p: latest(library.project, r, p), sets=sets, box=box)


def planned(
    project: Project, recipe: Recipe, found: list[Diagnostic], box: Box | None, price: float | None = None
) -> AnyPlan:
    """Raises Refused with what was found before, and why there is no plan (R202, R204)."""
    try:
        return plan_any(project, recipe, lambda r, p: latest(project, r, p), box, price)
    except Unplannable as error:
        raise Refused(*found, _unknown_model(recipe, str(error))) from None
    except SENSELESS as error:
        if not isinstance(error, ValueError) and not any(d.is_error for d in found):
            raise
        raise Refused(*found, senseless(recipe.doc, error)) from None


# why, where somebody may ask
_UNPLANNED = {
    "eval": "how long it takes is a matter of its tasks' documents and their lengths, which are known on the hub alone",
    "compare": "it reads what evaluations left, which takes seconds",
}


def _unknown_model(recipe: Recipe, name: str) -> Diagnostic:
    if not has_plan(recipe.kind):
        kind = replace(recipe.doc.keys["kind"].span)
        note = _UNPLANNED.get(recipe.kind)
        return Diagnostic(
            "R202",
            f"kind `{recipe.kind}` trains no model, so there is nothing to plan",
            kind,
            notes=(note,) if note else (),
        )
    node = recipe.doc.keys.get(model_key(recipe.doc) or "")
    return Diagnostic(
        "R202",
        f"nothing is known about the model `{printable(name)}`" if name else "the recipe names no model",
        node.span if node is not None else Span(recipe.doc.file, 1, 1),
        notes=("a plan is made without the network, from the model's config.json",),
        help="name a local directory with its config.json, or one of the models in `data/models`",
    )


def _one(
    project: Project, recipe: Recipe, found: list[Diagnostic], box: Box | None, price: float | None, as_json: bool
) -> bool:
    if recipe.children and box is not None:
        raise click.UsageError("a sweep is planned on the boxes that it names: --box goes with one recipe")
    plan = planned(project, recipe, found, box, price)
    told = [*found, *_unfit(plan, recipe, box)]
    _tell(told, recipe)
    allowed = _allowed(recipe)
    if as_json:
        data = {**to_json(plan, told), **({"allow": allowed} if allowed else {})}
        click.echo(json.dumps(data, indent=1, allow_nan=False))
    else:
        lines = page(plan, terminal_ink())
        lines += (
            ["", *(f"allowed: {_ALLOWED.get(each, f'runs {printable(each)}')}" for each in allowed)] if allowed else []
        )
        if isinstance(plan, ServingPlan) and len(others := compared(recipe, box)) > 1:
            lines += ["", *comparison(others, terminal_ink())]
        click.echo("\n".join(lines))
    return plan.fits != "no"


# what a recipe's header lets it do to the machine that runs it
_ALLOWED = {
    "trust_remote_code": "runs code from the hub (trust_remote_code)",
    "pickle": "reads pickles, which can run any code (pickle)",
    "execute_code": "runs programs that a model wrote, in a sandbox (execute_code)",
}


def _allowed(recipe: Recipe) -> list[str]:
    node = recipe.doc.keys.get("allow")
    return [str(each) for each in node.plain()] if node is not None and isinstance(node.value, list) else []


def _unfit(plan: AnyPlan, recipe: Recipe, box: Box | None) -> list[Diagnostic]:
    if isinstance(plan, SweepPlan):
        return unfit_children(plan)
    if isinstance(plan, ServingPlan):
        return [unfit_endpoint(plan, recipe)] if plan.fits == "no" else []
    return [unfit(plan, recipe, box)] if isinstance(plan, Plan) and plan.fits == "no" else []


def _refuse_fit(recipe: Recipe) -> None:
    if recipe.children:
        raise click.UsageError("--fit searches one recipe's knobs: name the sweep's base")
    if serves(recipe.kind):
        raise click.UsageError("--fit searches what a training depends on; `layout` chooses that of an endpoint")
    if recipe.kind in (PREPARE, QUANTIZE):
        raise click.UsageError("--fit searches what a training's memory and speed depend on; nothing is trained here")


def _tell(found: list[Diagnostic], recipe: Recipe) -> None:
    print_diagnostics(found)
    errors = sum(d.is_error and d.code != "R201" for d in found)
    if errors:
        click.echo(
            f"planned all the same; `runner run` would refuse {called(recipe)} for {counted(errors, 'error')}", err=True
        )
        click.echo(err=True)


def _all(project: Project, profile: str, box: Box | None, price: float | None, as_json: bool) -> bool:
    library = Library(project, profile)
    plans: list[AnyPlan] = []
    refused: list[Diagnostic] = []
    for file in over(project.all_recipes(), "planning"):
        try:
            opened, found = _open(library, file, (), box)
            if not has_plan(opened.kind) or (serves(opened.kind) and not (box or opened.box).gpus):
                continue  # what a server does on a processor is not planned
            plans.append(planned(project, opened, found, box, price))
        except Refused as refusal:
            refused += refusal.diagnostics
    print_diagnostics(refused)
    if as_json:
        click.echo(json.dumps(all_to_json(plans), indent=1, allow_nan=False))
    else:
        for line in all_pages(plans, terminal_ink()):
            click.echo(line)
    return not refused and all(plan.fits != "no" for plan in plans)


def _fit(
    project: Project, recipe: Recipe, found: list[Diagnostic], box: Box | None, *, write: bool, as_json: bool
) -> bool:
    from runner.plan.fit import search
    from runner.recipe.edit import write as write_settings
    from runner.report.plan_tables import frontier

    plan = planned(project, recipe, found, box)  # says what is wrong before hundreds of plans do
    with working("searching for what fits"):
        result = search(recipe, box)
    best = result.best
    if best is None:
        help = f"none of the {result.tried} plans that were tried fits: name a larger box with `--box`"
        found = [*found, *(replace(d, help=help) for d in _unfit(plan, recipe, box))]
    _tell(found, recipe)
    if as_json:
        click.echo(json.dumps(search_to_json(result), indent=1, allow_nan=False))
    else:
        click.echo("\n".join(frontier(result, terminal_ink())))
    if write and best is not None:
        for sentence in best.changes_learning:
            click.echo(f"note: learned differently: {sentence}", err=True)
        changed = write_settings(project, Path(recipe.doc.file), best.settings)
        click.echo(changed or f"{called(recipe)}: nothing to change", err=as_json)
    return best is not None
