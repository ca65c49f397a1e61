"""What the shell completes: names of recipes, runs, boxes and so on, found by looking at folders alone.

A press of Tab must be answered at once, so nothing here reads a recipe; and it must never print an error, so where
something can't be read there is nothing to complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

Completes = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _of(found: Callable[[], Iterable[str | tuple[str, str]]]) -> Completes:
    """Those that begin with what is typed; with a pair, the second is shown beside it where the shell can."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            listed = [each if isinstance(each, tuple) else (each, "") for each in found()]
        except (OSError, ValueError):
            return []
        return [CompletionItem(name, help=help or None) for name, help in listed if name.startswith(incomplete)]

    return complete


def _recipes() -> list[str]:
    from runner.project import find_project

    project = find_project()
    return [project.recipe_name(file) for file in project.all_recipes()]


def recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes by name; what looks like a path is completed as one."""
    if incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="file")]
    return _of(_recipes)(ctx, parameter, incomplete)


def _served() -> list[str]:
    names = _recipes()
    return [name.removeprefix("serve/") for name in names if name.startswith("serve/")] + names


def _runs() -> list[tuple[str, str]]:
    from runner.project import find_project

    root = find_project().artifacts
    found = (file.parent for depth in ("*/*/*", "*/*/*/*") for file in root.glob(f"{depth}/run.json"))
    return [(f"artifacts/{run.relative_to(root)}", run.parent.name) for run in sorted(found, reverse=True)]


def _codes() -> list[tuple[str, str]]:
    from runner.explained import titles

    return list(titles().items())


def _boxes() -> list[str]:
    from runner.facts.boxes import box_names

    return box_names()


def _papers() -> list[tuple[str, str]]:
    from runner.curriculum import curriculum

    return [(paper.name, paper.title) for paper in curriculum().papers.values()]


def _endpoints() -> list[str]:
    from runner.launch.endpoints import endpoints

    return ["all", *(endpoint.recipe for endpoint in endpoints())]


served, runs, codes, boxes = _of(_served), _of(_runs), _of(_codes), _of(_boxes)
papers, endpoints = _of(_papers), _of(_endpoints)


class Word(click.Choice[Any]):
    """A choice that says which word was probably meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        import difflib

        close = difflib.get_close_matches(str(value).lower(), [str(each) for each in self.choices], n=1)
        told = super().get_invalid_choice_message(value, ctx)
        return f"{told} Did you mean {close[0]!r}?" if close else told
