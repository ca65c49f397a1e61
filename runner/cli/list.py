"""`runner list`: the catalogue."""

from __future__ import annotations

import json
from typing import Any

import click

from runner.project import Project, find_project, valid_name
from runner.recipe.check import DEFAULT_BOX
from runner.recipe.compose import compose
from runner.recipe.graph import needs_of
from runner.recipe.load import Refused, printable


def catalogue(project: Project) -> list[dict[str, Any]]:
    """Every readable recipe's header, in the order of the folders."""
    rows = []
    for file in project.all_recipes():
        try:
            doc = compose(project, file)
        except Refused:
            continue
        if not valid_name(doc.name):
            continue

        def text(key: str, doc: Any = doc) -> Any:
            node = doc.keys.get(key)
            return node.plain() if node is not None else None

        needs = [str(n.value) for n in needs_of(doc).values()]
        model = text("base_model") or text("model") or ("from scratch" if text("architecture") else None)
        if isinstance(model, str) and model.startswith("${needs."):
            model = "from " + needs[0] if needs else model
        rows.append(
            {
                "recipe": doc.name,
                "kind": text("kind"),
                "week": text("week"),
                "title": text("title"),
                "model": model,
                "needs": needs,
                "box": text("box") or DEFAULT_BOX,
            }
        )
    return rows


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--names", is_flag=True, help="Names only, one a line.")
def command(as_json: bool, names: bool) -> None:
    """List the recipes there are."""
    rows = catalogue(find_project())
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if names:
        for row in rows:
            click.echo(row["recipe"])
        return
    width = max((len(row["recipe"]) for row in rows), default=10)
    for row in rows:
        week = f"week {row['week']!s:>2}" if row["week"] else "       "
        needs = f"  (needs {', '.join(row['needs'])})" if row["needs"] else ""
        click.echo(
            f"{row['recipe']:<{width}}  {row['kind'] or '?'!s:<9} {week}  {printable(str(row['title']), 120)}{needs}"
        )
