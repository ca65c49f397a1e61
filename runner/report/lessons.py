"""The generated part of each lesson, recipes/phaseN/README.md: its weeks, their papers, and each recipe's figures.

What is predicted comes from data/costs.json, what was measured in smoke or in full from data/taken.json, what to expect
from the recipe's own header; none is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from runner.curriculum import Curriculum, Phase, Week, curriculum
from runner.project import Project, find_project
from runner.recipe.compose import compose
from runner.report.costs import UNKNOWN, Cost, costs
from runner.report.ink import brief_duration, money
from runner.report.readme import fill, smoked
from runner.report.taken import read

BLOCK = "weeks"
_EXPECT = re.compile(r"^# Expect: (.*(?:\n#   .*)*)", re.M)


def lesson(project: Project, phase: Phase) -> Path:
    return project.recipes / phase.folder / "README.md"


def weeks_of(project: Project, plan: Curriculum, phase: Phase) -> str:
    """The block: each week of the phase, and at the end what its folder has for later or earlier weeks."""
    names = [name for week in plan.weeks for name in (*week.recipes, *week.beyond)]
    known, taken = costs(project, names), read()
    parts = [_week(project, week, phase, known, taken) for week in plan.weeks if week.phase == phase]
    for week in plan.weeks:
        own = [r for r in (*week.recipes, *week.beyond) if r.startswith(f"{phase.folder}/")]
        if week.phase != phase and own:
            links = ", ".join(_link(recipe, phase) for recipe in own)
            parts.append(f"Of this folder, in week {week.number}: {links}.")
    return "\n\n".join(parts)


def _week(project: Project, week: Week, phase: Phase, known: dict[str, Cost], taken: dict[str, Any]) -> str:
    read_ = ", ".join(f"[{p.title}]({p.link}) ({p.authors}, {p.year})" for p in week.papers)
    lines = [f"### Week {week.number}: {week.goal}", "", f"Read: {read_}.", ""]
    for recipe in (*week.recipes, *week.beyond):
        lines.append(f"- {_link(recipe, phase)}: {_about(project, recipe, recipe in week.beyond)}")
        lines.append(f"  {_figures(known.get(recipe, UNKNOWN), taken.get(recipe, {}))}")
    return "\n".join(lines)


def _link(recipe: str, phase: Phase) -> str:
    folder, _, name = recipe.partition("/")
    place = f"{name}.yaml" if folder == phase.folder else f"../{recipe}.yaml"
    return f"[`{recipe}`]({place})"


def _about(project: Project, recipe: str, beyond: bool) -> str:
    title = str(compose(project, project.recipe_file(recipe)).keys["title"].value)
    found = _EXPECT.search(project.recipe_file(recipe).read_text(encoding="utf-8"))
    words = " ".join(found[1].replace("\n#", " ").split()) if found else ""
    if words.startswith("runner plan"):
        words = f"what `{words.split(',')[0]}` says"
    told = f" Expect: {words.rstrip('.')}." if words else ""
    return f"{title}.{' It takes more than the pair.' if beyond else ''}{told}"


def _figures(cost: Cost, far: dict[str, Any]) -> str:
    figures = []
    if cost.hours is not None:
        figures.append(brief_duration(cost.hours))
    if cost.usd:
        figures.append(money(cost.usd))
    if cost.gpu_gib is not None:
        figures.append(f"{cost.gpu_gib:.1f} GiB of a GPU")
    said = [f"predicted on {cost.box}: {', '.join(figures)}" if figures else "no predicted time"]
    if "smoke" in far:
        said.append(f"smoke on a CPU, measured: {smoked(far['smoke'])}")
    if "full" in far:
        said.append(f"in full on {far['full']['box']}, measured: {smoked(far['full'])}")
    return "*" + "; ".join(said) + "*"


def write_lessons(project: Project) -> list[Path]:
    plan = curriculum()
    for phase in plan.phases:
        file = lesson(project, phase)
        file.write_text(fill(file.read_text(), {BLOCK: weeks_of(project, plan, phase)}))
    return [lesson(project, phase) for phase in plan.phases]


if __name__ == "__main__":
    write_lessons(find_project())
