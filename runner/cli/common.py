"""What several commands share: opening a recipe and checking all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from runner.cli.completing import Word, recipes
from runner.diagnostics import Diagnostic, Span, shown_path, sort_diagnostics
from runner.engines.nodes import on_box, without_gpus
from runner.facts.boxes import Box
from runner.launch.nodes import refuse_sweep
from runner.project import Project, find_project, valid_name
from runner.recipe.box_file import find_box
from runner.recipe.check import check
from runner.recipe.compose import PROFILES, compose
from runner.recipe.document import Document
from runner.recipe.graph import Library, check_needs
from runner.recipe.load import Refused, printable
from runner.recipe.naming import find_recipe, not_a_name
from runner.recipe.profile import in_profile
from runner.recipe.resolve import Recipe
from runner.recipe.sweep import check_sweep, is_sweep
from runner.record import read_run


def recipe_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("recipe", metavar="RECIPE", shell_complete=recipes)(function)


def profile_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--profile",
        type=Word(PROFILES),
        default="full",
        show_default=True,
        help="`full` runs the recipe as written; `smoke` the same pipeline, tiny, on a CPU.",
    )(function)


def set_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key for this call.")(
        function
    )


def box_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--box",
        "box_name",
        envvar="RUNNER_BOX",
        metavar="NAME|PATH",
        help="For this machine or cluster instead of the recipe's own box.",
    )(function)


def chosen_box(name: str | None, project: Project) -> Box | None:
    """The box that `--box` names. Raises Refused as find_box does."""
    return find_box(name, project.root) if name else None


def refuse_existing(place: Path) -> None:
    """Raises Refused (R017) where a new file would take another's place."""
    if os.path.lexists(place):
        raise Refused(
            Diagnostic(
                "R017",
                f"{printable(shown_path(str(place)))} exists already",
                Span(str(place)),
                help="choose another place",
            )
        )


def write_new(place: Path, text: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"can't write {shown_path(str(place))}: {error.strerror}") from None


def check_recipe(
    library: Library, file: Path, sets: tuple[str, ...] = (), box: Box | None = None
) -> tuple[Document | None, list[Diagnostic]]:
    """The composed recipe, and everything wrong with it, on `box` instead of its own where one is given; None where it
    can't even be composed."""
    name = library.project.recipe_name(file)
    if not valid_name(name):
        return None, [not_a_name(name, Span(str(file)))]
    try:
        doc = compose(library.project, file, profile=library.profile, sets=sets)
        full = doc if library.profile == "full" else compose(library.project, file)
        return check_document(library, doc, full, box)
    except Refused as refused:
        return None, refused.diagnostics


def check_document(
    library: Library, doc: Document, full: Document, box: Box | None = None
) -> tuple[Document | None, list[Diagnostic]]:
    """The same for a recipe that is composed already: in the library's profile, and as it is `full`y written."""
    try:
        found = check(full, library.project.root, box if library.profile == "full" else None)
        if any(d.code in ("R009", "R010") for d in found):
            return doc, found
        found += check_needs(library, doc)
        if is_sweep(doc) and not any(d.is_error for d in found):
            found += check_sweep(library, in_profile(library, doc, library.profile)[0])
        if library.profile != "full" and not any(d.is_error for d in found):
            # what a profile or an option changed must hold together too
            small = without_gpus(box) if box is not None else None
            found += check(in_profile(library, doc, library.profile)[0], library.project.root, small)
    except Refused as refused:
        return None, refused.diagnostics
    return doc, sort_diagnostics(found)


def open_recipe(
    given: str, profile: str, sets: tuple[str, ...] = (), name: str | None = None, box_name: str | None = None
) -> tuple[Project, Recipe, list[Diagnostic]]:
    """A recipe ready to render, with its warnings; under another `name`, and on another box, where they are given.
    Raises Refused where it has errors."""
    from runner.provenance.lock import read_lock
    from runner.provenance.locked import resolve_pinned

    project = find_project()
    box = chosen_box(box_name, project)
    library = Library(project, profile)
    if name is not None and not valid_name(name):
        raise Refused(not_a_name(name, Span("<command line>")))
    doc, found = check_recipe(library, find_recipe(project, given), sets, box)
    if doc is None or any(d.is_error for d in found):
        raise Refused(*found)
    if name is not None:
        doc = replace(doc, name=name)
    recipe = resolve_pinned(library, doc, read_lock(doc.file))
    if box is not None:
        refuse_sweep(recipe, box)
        recipe = on_box(recipe, box)
    return project, recipe, found


def causes(folder: Path) -> list[str]:
    """What is known of why a run failed: cause, knob, what its metrics and its plan say; empty where nothing is."""
    from runner.report.why import account_of  # much to import, for a run that fails
    from runner.report.why_text import brief

    run = read_run(folder)
    return brief(account_of(find_project(), run)) if run is not None else []
