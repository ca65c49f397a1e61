"""The plan of twenty weeks: what each is for, what is read, what is run, and the seven deliverables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from runner.facts.read import read_facts
from runner.project import shipped

FILE = "curriculum.yaml"


@dataclass(frozen=True, slots=True)
class Paper:
    """`name` is what `runner note NAME` takes."""

    name: str
    title: str
    authors: str
    year: int
    link: str


@dataclass(frozen=True, slots=True)
class Phase:
    """`folder` below recipes/ holds its lesson, README.md."""

    number: int
    title: str
    folder: str


@dataclass(frozen=True, slots=True)
class Week:
    """`recipes` in the order to run them; `beyond` are those that the plan's box can't carry."""

    number: int
    phase: Phase
    goal: str
    papers: tuple[Paper, ...]
    recipes: tuple[str, ...]
    beyond: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deliverable:
    """Proven when each recipe of `proof` has finished as it is written, in profile `full`; due in `week`."""

    number: int
    title: str
    week: int
    proof: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curriculum:
    phases: tuple[Phase, ...]
    weeks: tuple[Week, ...]
    deliverables: tuple[Deliverable, ...]
    papers: dict[str, Paper]

    def week(self, number: int) -> Week:
        """Raises KeyError for a week that there is not."""
        found = next((week for week in self.weeks if week.number == number), None)
        if found is None:
            raise KeyError(number)
        return found

    def weeks_of(self, paper: Paper) -> tuple[Week, ...]:
        return tuple(week for week in self.weeks if paper in week.papers)


@cache
def curriculum() -> Curriculum:
    """Weeks, phases and deliverables by number."""
    told = read_facts(shipped("data") / FILE)
    papers = {name: _paper(name, of) for name, of in told["papers"].items()}
    phases = {number: Phase(number, of["title"], of["folder"]) for number, of in told["phases"].items()}
    weeks = tuple(_week(number, of, phases, papers) for number, of in told["weeks"].items())
    deliverables = tuple(
        Deliverable(number, of["title"], of["week"], tuple(of["proof"])) for number, of in told["deliverables"].items()
    )
    return Curriculum(tuple(phases.values()), weeks, deliverables, papers)


def _paper(name: str, of: dict[str, Any]) -> Paper:
    link = of.get("url") or f"https://arxiv.org/abs/{of['arxiv']}"
    return Paper(name, of["title"], of["authors"], of["year"], link)


def _week(number: int, of: dict[str, Any], phases: dict[int, Phase], papers: dict[str, Paper]) -> Week:
    return Week(
        number,
        phases[of["phase"]],
        of["goal"],
        tuple(papers[name] for name in of["papers"]),
        tuple(of["recipes"]),
        tuple(of.get("beyond", ())),
    )
