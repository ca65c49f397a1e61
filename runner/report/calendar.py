"""When the plan began, which the project keeps, and which week a day lies in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

from runner.project import Project
from runner.record import write_json

# a person's own, so not in git
FILE = "path.json"
WEEK = timedelta(days=7)


def read_start(project: Project) -> date | None:
    """None where nobody has said, or where it can't be read."""
    try:
        return date.fromisoformat(json.loads((project.artifacts / FILE).read_text())["start"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_start(project: Project, start: date) -> None:
    project.artifacts.mkdir(exist_ok=True)
    write_json(project.artifacts / FILE, {"start": start.isoformat()})


def week_of(start: date, day: date) -> int:
    """1 in the first seven days; 0 or less before them."""
    return (day - start).days // 7 + 1


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` up to, and without, `end`, as the person's clock has them."""

    first: date
    end: date

    def covers(self, moment: datetime) -> bool:
        first, end = (datetime.combine(day, time()).astimezone() for day in (self.first, self.end))
        return first <= moment.astimezone(timezone.utc) < end

    @property
    def last(self) -> date:
        return self.end - timedelta(days=1)


def span_of(start: date, week: int) -> Span:
    first = start + (week - 1) * WEEK
    return Span(first, first + WEEK)
