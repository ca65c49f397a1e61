"""How far the learning plan is: its deliverables, and each phase's recipes, from runs alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.curriculum import curriculum
from runner.project import Project
from runner.report.standing import Level, standing


@dataclass(frozen=True, slots=True)
class Goal:
    """Recipes that show together that something is done."""

    title: str
    week: int | None
    of: tuple[tuple[str, Level], ...]

    def count(self, *levels: str) -> int:
        return sum(level in levels for _, level in self.of)

    @property
    def standing(self) -> str:
        done, all_of = self.count("done"), len(self.of)
        if done == all_of and all_of:
            return "done"
        more = self.count("smoked")
        return f"{done} of {all_of} done" + (f", {more} smoked" if more else "")


def levels(project: Project, recipes: Sequence[str]) -> dict[str, Level]:
    """Of each recipe, from its runs."""
    return {recipe: standing(project, recipe).level for recipe in recipes}


def deliverables(level: Mapping[str, Level]) -> list[Goal]:
    """The plan's own, each with the recipes that prove it."""
    return [
        Goal(d.title, d.week, tuple((name, level.get(name, "new")) for name in d.proof))
        for d in curriculum().deliverables
    ]


def phases(project: Project, level: Mapping[str, Level]) -> list[Goal]:
    """A goal for each folder of recipes."""
    folders: dict[str, list[str]] = {}
    for file in project.all_recipes():
        name = project.recipe_name(file)
        folders.setdefault(name.partition("/")[0], []).append(name)
    return [
        Goal(_named(folder), None, tuple((n, level.get(n, "new")) for n in names)) for folder, names in folders.items()
    ]


def _named(folder: str) -> str:
    """`Phase 4` for phase4."""
    return re.sub(r"(?<=[a-z])(?=[0-9])", " ", folder).capitalize()
