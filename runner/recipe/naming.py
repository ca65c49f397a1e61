"""What a person typed -> the recipe, or the word, that was meant."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.project import Project, valid_name
from runner.recipe.load import Refused, printable


def find_recipe(project: Project, given: str) -> Path:
    """The file of a recipe given by name (`phase4/dpo-13b`) or by path. Raises Refused (R001, R011)."""
    if given.endswith((".yaml", ".yml")) and os.path.isfile(given):  # noqa: PTH113 - Path's raises on odd names
        return Path(given)
    name = given.removeprefix("recipes/").removesuffix(".yaml").removesuffix(".yml")
    if not valid_name(name):
        raise Refused(not_a_name(given, Span("<command line>")))
    file = project.recipe_file(name)
    if not file.is_file():
        known = [project.recipe_name(f) for f in project.all_recipes()]
        close = nearest_word(name, known) or _nearest_tail(name, known)
        raise Refused(
            Diagnostic(
                "R001",
                f"there is no recipe `{name}`",
                Span("<command line>"),
                notes=(f"looked for {file}",),
                help=f"did you mean `{close}`?" if close else "`runner list` shows the recipes there are",
            )
        )
    return file


def not_a_name(given: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "R011",
        f"`{printable(given)}` can't be a recipe's name",
        span,
        notes=("a name becomes a path and a make target: lower-case letters, digits, `-`, `_`, `.` and `/`",),
        help="for instance `phase4/dpo-13b`; `runner list` shows the recipes there are",
    )


def nearest_word(word: str, known: list[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.7 if len(word) > 4 else 0.6)
    if close:
        return close[0]
    tail = [k for k in known if k.rsplit("/", 1)[-1] == word]
    return tail[0] if tail else None


def _nearest_tail(name: str, known: list[str]) -> str | None:
    """`dpo13b` and `phase3/dpo13b` are meant as `phase4/dpo-13b`."""
    tails = {k.rsplit("/", 1)[-1]: k for k in reversed(known)}
    close = difflib.get_close_matches(name.rsplit("/", 1)[-1], list(tails), n=1, cutoff=0.8)
    return tails[close[0]] if close else None
