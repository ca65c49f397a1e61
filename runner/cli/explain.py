"""`runner explain`: the long form of a diagnostic code."""

from __future__ import annotations

import click

from runner.codes import CODES
from runner.recipe.load import nearest_word
from runner.recipe.rules import all_rules


@click.command()
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain a code such as R004; without one, list them all."""
    rules = {r.code: r for r in all_rules()}
    titles = {**{c: title for c, (title, _) in CODES.items()}, **{c: r.title for c, r in rules.items()}}
    if code is None:
        for each in sorted(titles):
            click.echo(f"{each}  {titles[each]}")
        return
    code = code.upper()
    if code not in titles:
        close = nearest_word(code, sorted(titles))
        raise click.UsageError(f"there is no code {code}" + (f"; did you mean {close}?" if close else ""))
    click.echo(f"{code}: {titles[code]}\n")
    if code in rules:
        rule = rules[code]
        click.echo("\n".join(line.strip() for line in rule.explanation.splitlines()))
        click.echo(f"\nsource: {rule.source}")
    else:
        click.echo(CODES[code][1])
