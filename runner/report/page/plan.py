"""How far the learning plan is: its deliverables, and each phase's recipes, from runs alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.facts.read import read_facts
from runner.project import Project, shipped
from runner.record import latest
from runner.report.history import Summary

# done: a finished run as written; smoked: the same pipeline, tiny
Level = Literal["done", "running", "failed", "smoked", "new"]
CURRICULUM = "curriculum.yaml"


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


def levels(project: Project, recipes: Sequence[str], summaries: Sequence[Summary]) -> dict[str, Level]:
    """Of each recipe, by its runs; of one that never finished as written, how the newest such run ended. What `--set`
    cut short has finished too and shows nothing: it never becomes `latest`."""
    found: dict[str, Level] = dict.fromkeys(recipes, "new")
    tried: set[str] = set()
    for each in summaries:  # newest first
        if each.recipe not in found:
            continue
        ended_well = each.status == "stopped" or (
            each.status == "finished" and latest(project, each.recipe, each.profile) is not None
        )
        if each.profile == "full" and ended_well:
            found[each.recipe] = "done"
        elif found[each.recipe] != "done" and each.profile == "full" and each.recipe not in tried:
            found[each.recipe] = "running" if each.status == "running" else "failed"
        elif found[each.recipe] == "new" and ended_well:
            found[each.recipe] = "smoked"
        tried |= {each.recipe} if each.profile == "full" else set()
    return found


def deliverables(level: Mapping[str, Level]) -> list[Goal]:
    """As data/curriculum.yaml lists them, each with the recipes that prove it; none where there is no such file."""
    file = shipped("data") / CURRICULUM
    listed = read_facts(file).get("deliverables", {}) if file.is_file() else {}
    return [
        Goal(given["title"], given.get("week"), tuple((name, level.get(name, "new")) for name in given["proof"]))
        for _, given in sorted(listed.items())
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
