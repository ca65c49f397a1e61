"""What a person calls a run -> the run: its folder, one below artifacts/, `recipe`, or `recipe/profile`."""

from __future__ import annotations

from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.project import Project, valid_name
from runner.recipe.compose import PROFILES
from runner.recipe.load import Refused, printable
from runner.recipe.naming import find_recipe
from runner.record import RECORD, Run, latest, newest_run, read_run, runs

# no path is longer
LONGEST = 1024


def find_run(project: Project, given: str, profile: str = "full") -> Run:
    """The run whose folder that is; of a recipe its newest finished run, or else its newest. Raises Refused: R454 where
    a folder holds no run that can be read, R410 where a recipe has not run, R001, R011 and R012 where it is none."""
    folder = folder_of(project, given)
    if folder is not None:
        return run_in(folder, given)
    name, profile = recipe_of(project, given, profile)
    finished = latest(project, name, profile)
    run = read_run(finished) if finished is not None else next(iter(runs(project, name, profile)), None)
    if run is None:
        raise has_not_run(name, profile)
    return run


def run_in(folder: Path, given: str) -> Run:
    """Raises Refused (R454)."""
    run = read_run(folder.resolve())
    if run is not None:
        return run
    if (folder / RECORD).is_file():
        message, place, mend = f"the record of `{printable(given)}` can't be read", str(folder / RECORD), ""
    else:
        message, place = f"there is no run in `{printable(given)}`", "<command line>"
        mend = "name a folder that a run has left, artifacts/RECIPE/PROFILE/TIME, or a recipe"
    raise Refused(Diagnostic("R454", message, Span(place), help=mend))


def folder_of(project: Project, given: str) -> Path | None:
    """The folder that is named, as it stands or below artifacts/: one with a run, or else one that is no recipe."""
    if "\x00" in given or len(given) > LONGEST:
        return None
    places = [Path(given), project.artifacts / given]
    recorded = next((place for place in places if (place / RECORD).is_file()), None)
    if recorded is not None:
        return recorded
    name, _ = recipe_and_profile(given, "")
    known = valid_name(name) and (project.recipe_file(name).is_file() or _has_run(project, name))
    return places[0] if places[0].is_dir() and not known else None


def recipe_of(project: Project, given: str, profile: str) -> tuple[str, str]:
    """The recipe that is meant, and in which profile: that of `recipe/smoke` goes before `profile`. What has run counts
    too, since a sweep's child has no recipe of its own. Raises Refused: R001, R011, R012."""
    if given.endswith((".yaml", ".yml")):
        return project.recipe_name(find_recipe(project, given)), profile
    name, profile = recipe_and_profile(given, profile)
    if valid_name(name) and _has_run(project, name):
        return name, profile
    return project.recipe_name(find_recipe(project, name)), profile


def recipe_and_profile(given: str, profile: str) -> tuple[str, str]:
    """`phase4/dpo-13b/smoke` is a recipe's name with a profile, which goes before `profile`."""
    name = given.strip("/").removeprefix("recipes/").removeprefix("artifacts/").removesuffix(".yaml")
    head, _, last = name.rpartition("/")
    return (head, last) if head and last in PROFILES else (name, profile)


def has_not_run(name: str, profile: str | None) -> Refused:
    where = f" in profile `{profile}`" if profile else ""
    make = f"make recipe R={name} PROFILE={profile}" if profile else f"make recipe R={name}"
    return Refused(Diagnostic("R410", f"`{name}` has not run{where} yet", Span("<command line>"), help=make))


def _has_run(project: Project, name: str) -> bool:
    return any(newest_run(project, name, each) is not None for each in PROFILES)
