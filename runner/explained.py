"""Every diagnostic code -> its title and its long form, whether it is a rule's or the runner's own."""

from __future__ import annotations

from functools import cache

from runner.codes import codes
from runner.recipe.rules import all_rules


@cache
def titles() -> dict[str, str]:
    """By code."""
    found = {code: title for code, (title, _) in codes().items()} | {r.code: r.title for r in all_rules()}
    return {code: found[code] for code in sorted(found)}


def long_form(code: str) -> str:
    """What it means and why. Raises KeyError for a code that there is not."""
    rule = next((r for r in all_rules() if r.code == code), None)
    return codes()[code][1] if rule is None else "\n".join(line.strip() for line in rule.explanation.splitlines())


def source_of(code: str) -> str | None:
    """The public address that gives a rule's reason."""
    return next((r.source for r in all_rules() if r.code == code), None)
