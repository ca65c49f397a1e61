"""`runner card`: the card of a model that a run left."""

from __future__ import annotations

import click

from runner.cli.common import profile_option
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project
from runner.provenance.card import card_text
from runner.provenance.find import find_run
from runner.provenance.outputs import MODEL_TYPES
from runner.provenance.seal import write_cards
from runner.recipe.load import Refused
from runner.record import RECORD, Run, write_json


@click.command()
@click.argument("name", metavar="RUN")
@profile_option
@click.option("--output", "chosen", metavar="NAME", help="Which of the run's outputs; its last model when not given.")
@click.option("--write", is_flag=True, help="Write it (again) beside every model that the run left.")
def command(name: str, profile: str, chosen: str | None, write: bool) -> None:
    """Print a model's card in the hub's format: metadata, training table, origins, how to reproduce it.

    Every finished run has written it as README.md beside its models.
    """
    run = find_run(find_project(), name, profile)
    models = [o for o in run.record.get("outputs", []) if o["type"] in MODEL_TYPES]
    wanted = [o for o in models if chosen is None or o["name"] == chosen]
    if not wanted:
        raise Refused(_no_model(run, models, chosen))
    if not write:
        click.echo(card_text(run, wanted[-1]), nl=False)
        return
    cards = write_cards(run)
    write_json(run.path / RECORD, run.record | {"cards": cards})
    for place in cards:
        click.echo(shown_path(str(run.path / place)))


def _no_model(run: Run, models: list[dict[str, str]], chosen: str | None) -> Diagnostic:
    left = ", ".join(f"`{o['name']}` (type {o['type']})" for o in run.record.get("outputs", [])) or "nothing"
    named = f" called `{chosen}`" if chosen is not None and models else ""
    return Diagnostic(
        "R463",
        f"run `{run.id}` left no model{named}",
        Span(str(run.path)),
        notes=(f"it is {run.status}, and left {left}",),
        help="a card describes an adapter or a model; `--output` takes one of their names",
    )
