"""`runner show`: what a recipe will run, and where each value came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from runner.cli.common import open_recipe, profile_option, recipe_argument, set_option
from runner.cli.output import print_diagnostics
from runner.diagnostics import Span, shown_path
from runner.engines import load_engine
from runner.recipe.document import Node
from runner.recipe.resolve import Recipe
from runner.render import to_yaml


def origin(span: Span, start: Path | None = None) -> str:
    """File and line, the file relative to `start` (the working folder); else the profile or option."""
    return f"{shown_path(span.file, start)}:{span.line}" if span.is_file else span.file.strip("<>")


@click.command()
@recipe_argument
@profile_option
@set_option
@click.option("--resolved", is_flag=True, help="References and paths filled in, as the engine gets them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--sample",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=0,
    metavar="[ROW]",
    help="Show instead one row of the data as the engine makes it, and which tokens carry loss; the first without ROW.",
)
def command(
    recipe: str, profile: str, sets: tuple[str, ...], resolved: bool, as_json: bool, sample: int | None
) -> None:
    """Print what will run: every key with its value and the file and line, profile or option that set it."""
    _, opened, warnings = open_recipe(recipe, profile, sets)
    print_diagnostics(warnings)
    if sample is not None:
        from runner.cli.training_row import show_row

        show_row(opened, sample, as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps(_as_json(opened), indent=1))
        return
    steps = ", ".join(s.name for s in load_engine(opened.engine).steps(opened))
    click.echo(f"# {opened.name}: {opened.title}")
    click.echo(f"# kind {opened.kind}, profile {opened.profile}, box {opened.box.name}, steps: {steps}")
    for up in opened.upstreams:
        state = f"run {up.run.name}" if up.run else "has not run yet"
        click.echo(f"# needs {up.recipe} as `{up.alias}`: {state}")
    for output in opened.outputs:
        click.echo(f"# leaves `{output.name}` (type {output.type}) in {output.path}")
    click.echo()
    lines = []
    for key, node in sorted(opened.doc.keys.items(), key=lambda item: _place(item[1])):
        if node.value is None:
            continue
        value = opened.values.get(key, node.plain()) if resolved else node.plain()
        text = to_yaml({key: value}).rstrip()
        first, _, rest = text.partition("\n")
        lines.append((first, origin(node.key), rest))
    width = min(64, max((len(first) for first, _, _ in lines), default=0))
    for first, where, rest in lines:
        click.echo(f"{first:<{width}}  # {where}")
        if rest:
            click.echo(rest)


def _place(node: Node) -> tuple[bool, str, int]:
    return not node.key.is_file, node.key.file, node.key.line


def _as_json(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "kind": recipe.kind,
        "engine": recipe.engine,
        "profile": recipe.profile,
        "title": recipe.title,
        "box": recipe.box.name,
        "needs": [
            {"alias": u.alias, "recipe": u.recipe, "run": str(u.run) if u.run else None} for u in recipe.upstreams
        ],
        "outputs": [{"name": o.name, "type": o.type, "path": o.path} for o in recipe.outputs],
        "values": recipe.values,
        "origins": {key: origin(node.key) for key, node in recipe.doc.keys.items()},
    }
