"""The plan of twenty weeks names what there is: each recipe once, in its header's week; links in the right form."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from runner.curriculum import curriculum
from runner.project import Project
from tests.conftest import ROOT

PLAN = curriculum()


def weeks_in_headers() -> dict[str, int]:
    project = Project(ROOT)
    found = {}
    for file in project.all_recipes():
        told = re.search(r"^week: (\d+)$", file.read_text(), re.M)
        assert told, f"{file} has no week"
        found[project.recipe_name(file)] = int(told[1])
    return found


def test_each_recipe_stands_once_in_the_week_of_its_header() -> None:
    planned = [(recipe, week.number) for week in PLAN.weeks for recipe in (*week.recipes, *week.beyond)]
    assert len(planned) == len(dict(planned))
    assert dict(planned) == weeks_in_headers()


def test_twenty_weeks_in_five_phases() -> None:
    assert [week.number for week in PLAN.weeks] == list(range(1, 21))
    assert all(one.phase.number <= next_.phase.number for one, next_ in pairwise(PLAN.weeks))
    assert {week.phase for week in PLAN.weeks} == set(PLAN.phases)
    assert all((ROOT / "recipes" / phase.folder).is_dir() for phase in PLAN.phases)
    with pytest.raises(KeyError):
        PLAN.week(21)


def test_a_deliverable_is_due_no_sooner_than_its_proofs() -> None:
    week_of = {recipe: week.number for week in PLAN.weeks for recipe in week.recipes}
    assert [d.number for d in PLAN.deliverables] == list(range(1, 8))
    for deliverable in PLAN.deliverables:
        assert deliverable.week == max(week_of[recipe] for recipe in deliverable.proof)


def test_papers_are_read_and_linked() -> None:
    read = [paper for week in PLAN.weeks for paper in week.papers]
    assert sorted(p.name for p in read) == sorted(PLAN.papers), "each is read in one week"
    links = [paper.link for paper in read]
    assert len(set(links)) == len(links)
    for paper in read:
        assert re.fullmatch(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}|doi\.org/10\.\d{4,}/[\d.]+)", paper.link)
        if number := re.search(r"abs/(\d\d)(\d\d)\.", paper.link):
            # a paper of the last days of a year may have the next one's number
            assert 2000 + int(number[1]) - paper.year in (0, 1)
            assert 1 <= int(number[2]) <= 12
