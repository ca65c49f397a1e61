"""What a person calls a run -> the run: a directory, `recipe`, `recipe/profile` or `recipe/profile/id`."""

from __future__ import annotations

from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.project import Project
from runner.recipe.compose import PROFILES
from runner.recipe.load import Refused, printable
from runner.record import RECORD, Run, latest, read_run, runs


def find_run(project: Project, given: str, profile: str = "full") -> Run:
    """The newest finished run where a recipe is named without one, or else its newest. Raises Refused (R454)."""
    for place in _places(project, given):
        if (place / RECORD).is_file():
            run = read_run(place.resolve())
            if run is not None:
                return run
            raise Refused(
                Diagnostic("R454", f"the record of `{printable(given)}` can't be read", Span(str(place / RECORD)))
            )
    recipe, chosen = recipe_and_profile(given, profile)
    newest = latest(project, recipe, chosen) if "\x00" not in given else None
    if newest is not None and (run := read_run(newest)) is not None:
        return run
    listed = runs(project, recipe, chosen) if "\x00" not in given and ".." not in given else []
    if listed:
        return listed[0]
    raise Refused(
        Diagnostic(
            "R454",
            f"there is no run `{printable(given)}`",
            Span("<command line>"),
            notes=(f"looked for a run's directory, and for a run of that recipe in profile `{chosen}`",),
            help="name a directory of artifacts/, or a recipe that has run; add `/smoke` for its smoke runs",
        )
    )


def _places(project: Project, given: str) -> list[Path]:
    if "\x00" in given or len(given) > 1024:
        return []
    return [Path(given), project.artifacts / given]


def recipe_and_profile(given: str, profile: str) -> tuple[str, str]:
    """`phase4/dpo-13b/smoke` is a recipe's name with a profile, which goes before `profile`."""
    name = given.strip("/").removeprefix("recipes/").removeprefix("artifacts/").removesuffix(".yaml")
    head, _, last = name.rpartition("/")
    return (head, last) if head and last in PROFILES else (name, profile)
