"""`runner show R --sample N`: one row of the data as the engine makes it, with what carries loss."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from runner.cli.output import wants_colour
from runner.cli.progress import build_view
from runner.diagnostics import Diagnostic, Span
from runner.engines.environment import ensure, environment
from runner.launch.training_row import NoRow, training_row
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, refuse_missing
from runner.render import render
from runner.report.ink import Ink
from runner.report.training_row_text import as_text

ENGINE = "axolotl"
_CODES = {"missing": "R865", "data": "R866", "unshown": "R867", "engine": "R868"}


def show_row(recipe: Recipe, row: int, *, as_json: bool) -> None:
    """Prints it. Raises Refused: R410 a need has not run, R865 no such row, R866 the engine can't read it, R867 none
    of this kind, R868 no answer."""
    if recipe.engine != ENGINE or recipe.kind == "multimodal":
        raise Refused(_none(recipe))
    refuse_missing(recipe)
    env = environment(ENGINE)
    if not env.ready:
        with build_view(env) as report:
            ensure(env, report)
    try:
        found = training_row(env, recipe, render(recipe), row)
    except NoRow as problem:
        raise Refused(_problem(recipe, row, problem)) from None
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    version = env.versions().get("axolotl", "")
    ink = Ink(colour=wants_colour(sys.stdout))
    for line in as_text(found, recipe.name, recipe.profile, f"Axolotl {version}".strip(), ink):
        click.echo(line, color=ink.colour)


def _none(recipe: Recipe) -> Diagnostic:
    why = "its rows are pictures and text" if recipe.kind == "multimodal" else "Axolotl does not run it"
    return Diagnostic(
        "R867",
        f"no row of kind `{recipe.kind}` can be shown",
        recipe.doc.keys["kind"].span,
        label=why,
        help="name a recipe that Axolotl trains on text",
    )


def _problem(recipe: Recipe, row: int, problem: NoRow) -> Diagnostic:
    data = next((k for k in ("prepared", "pretraining_dataset", "datasets") if k in recipe.doc.keys), None)
    span = recipe.doc.keys[data].key if data else Span("<command line>")
    message, help = {
        "missing": (str(problem), "give `--sample` a smaller number"),
        "data": (f"Axolotl can't make row {row:,}: {problem}", "mend the row, or the `datasets` entry that reads it"),
        "unshown": (f"row {row:,} can't be shown: {problem}", "name a recipe that trains on text"),
        "engine": (f"Axolotl gave no answer: {problem}", "`runner doctor` says what the environment lacks"),
    }[problem.kind]
    return Diagnostic(_CODES[problem.kind], message, span, help=help)
