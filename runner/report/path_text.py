"""The twenty weeks as a page: what is done, what is next, and what the rest will cost."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from runner.curriculum import Curriculum, Week
from runner.report.calendar import span_of
from runner.report.costs import UNKNOWN, Cost
from runner.report.ink import Ink, brief_duration, duration, money
from runner.report.standing import DeliverableState, Standing

_HARD_SPACE = "\N{NO-BREAK SPACE}"
_MARK = {"done": "x", "smoked": "s", "running": ">", "failed": "!", "new": " "}
_STYLE = {"done": "yes", "smoked": "dim", "running": "tight", "failed": "no", "new": "dim"}
LEGEND = ("[x] done in full", "[s] smoke only", "[>] running", "[!] failed or interrupted", "[ ] not yet")


@dataclass(frozen=True, slots=True)
class Journey:
    """`today` is the week of the plan that it is now, None without a start; `spent_usd` is of all full runs; `needed`
    gives all that recipes stand on."""

    plan: Curriculum
    standings: dict[str, Standing]
    costs: dict[str, Cost]
    deliverables: list[DeliverableState]
    start: date | None
    today: int | None
    spent_usd: float
    needed: Callable[[Iterable[str]], list[str]]

    def done(self, week: Week) -> int:
        return sum(self.standings[recipe].level == "done" for recipe in week.recipes)

    def left(self, weeks: Iterable[Week]) -> list[Cost]:
        """Of what is not done, in the order to run it."""
        return [
            self.costs.get(recipe, UNKNOWN)
            for week in weeks
            for recipe in week.recipes
            if self.standings[recipe].level != "done"
        ]

    def next(self) -> tuple[Week, str] | None:
        """The first recipe that is not done; None when all are."""
        for week in self.plan.weeks:
            for recipe in week.recipes:
                if self.standings[recipe].level != "done":
                    return week, recipe
        return None


@dataclass(frozen=True, slots=True)
class Sum:
    """Of several costs; `untold` have no estimate."""

    hours: float
    usd: float
    untold: int


def total(listed: Iterable[Cost]) -> Sum:
    costs = list(listed)
    return Sum(sum(c.hours or 0 for c in costs), sum(c.usd or 0 for c in costs), sum(c.hours is None for c in costs))


def overview(journey: Journey, ink: Ink) -> Iterator[str]:
    plan = journey.plan
    recipes = [recipe for week in plan.weeks for recipe in week.recipes]
    done = sum(journey.standings[recipe].level == "done" for recipe in recipes)
    smoked = sum(journey.standings[recipe].smoke is not None for recipe in recipes)
    yield ink.paint(f"Twenty weeks: {done} of {len(recipes)} recipes done in full, {smoked} in smoke", "bold")
    yield _when(journey)
    yield ink.paint(f"{'done  still to pay':>{ink.width}}", "dim")
    for phase in plan.phases:
        yield from [""] if phase.number > 1 else []
        yield ink.paint(f"Phase {phase.number}: {phase.title}", "bold")
        for week in plan.weeks:
            if week.phase == phase:
                yield _week_line(journey, week, ink)
    yield ""
    yield from checklist(journey.deliverables, ink)
    yield from _legend(ink)
    yield ""
    yield from _next(journey, ink)
    yield ""
    yield from _wrapped(_costs_left(journey), ink)


def _when(journey: Journey) -> str:
    if journey.start is None or journey.today is None:
        return "say when you began, for weeks with dates: runner path --start YYYY-MM-DD"
    if journey.today < 1:
        return f"begins {journey.start}"
    if journey.today > len(journey.plan.weeks):
        return f"began {journey.start}; the twenty weeks are over"
    return f"began {journey.start}; this is week {journey.today}"


def _week_line(journey: Journey, week: Week, ink: Ink) -> str:
    done, all_ = journey.done(week), len(week.recipes)
    level = "done" if done == all_ else "smoked" if _any_smoked(journey, week) else "new"
    left = total(journey.left([week]))
    figures = f"{done:>2}/{all_:<2} {_brief(left):>13}"
    room = ink.width - len(figures) - 11
    goal = textwrap.shorten(week.goal, room, placeholder="...") if len(week.goal) > room else week.goal
    arrow = ">" if week.number == journey.today else " "
    mark = ink.paint(f"[{_MARK[level]}]", _STYLE[level])
    return f"{arrow}{mark} {week.number:>2}  {goal:<{room}} {figures}".rstrip()


def _any_smoked(journey: Journey, week: Week) -> bool:
    return any(journey.standings[recipe].smoke is not None for recipe in week.recipes)


def _brief(left: Sum) -> str:
    if not left.hours:
        return ""
    return f"{brief_duration(left.hours)} {money(left.usd):>6}" if left.usd else brief_duration(left.hours)


def checklist(states: Iterable[DeliverableState], ink: Ink) -> Iterator[str]:
    yield ink.paint("Deliverables", "bold")
    for state in states:
        level = "done" if state.proven else "smoked" if state.smoked else "new"
        mark = ink.paint(f"[{_MARK[level]}]", _STYLE[level])
        far = f"week {state.deliverable.week:>2}  {state.done}/{len(state.of)}"
        room = ink.width - len(far) - 10
        first, *rest = textwrap.wrap(state.deliverable.title, room)
        yield f" {mark}  {state.deliverable.number}  {first:<{room}} {far}"
        yield from (" " * 8 + line for line in rest)


def _next(journey: Journey, ink: Ink) -> Iterator[str]:
    found = journey.next()
    if found is None:
        yield ink.paint("All done.", "yes")
        return
    week, recipe = found
    cost = journey.costs.get(recipe, UNKNOWN)
    yield ink.paint(f"Next, of week {week.number}: {recipe}", "bold") + f"  {_told(cost)}"
    if journey.standings[recipe].smoke is None:
        yield f"  {command_for(recipe, 'smoke')}"
    yield f"  {command_for(recipe, 'full')}"
    if missing := [name for name in journey.needed([recipe]) if journey.standings[name].level != "done"]:
        yield from _wrapped(f"  It makes first what it needs: {', '.join(missing)}.", ink)
    yield f"  runner path --week {week.number}"


def command_for(recipe: str, profile: str) -> str:
    if recipe.startswith("serve/"):
        made = f"make serve MODEL={recipe.removeprefix('serve/')}"
    else:
        made = f"make recipe R={recipe}"
    return f"{made} PROFILE=smoke" if profile == "smoke" else made


def _told(cost: Cost) -> str:
    if cost.hours is None:
        return "no estimate"
    price = f", {money(cost.usd)}" if cost.usd else ""
    return f"{duration(cost.hours)}{price} on {cost.box}, predicted"


def _costs_left(journey: Journey) -> str:
    left = total(journey.left(journey.plan.weeks))
    untold = f"; {left.untold} recipes have no estimate (evaluations, endpoints)" if left.untold else ""
    spent = f" Spent on full runs so far: {money(journey.spent_usd)}." if journey.spent_usd else ""
    return f"Left: {left.hours:,.0f} hours and {money(left.usd)} of the recipes' boxes, predicted{untold}.{spent}"


def week_page(journey: Journey, week: Week, ink: Ink) -> Iterator[str]:
    when = ""
    if journey.start is not None:
        span = span_of(journey.start, week.number)
        when = f"  ({span.first} to {span.last})"
    yield ink.paint(f"Week {week.number} of 20: ", "bold") + f"phase {week.phase.number}, {week.phase.title}{when}"
    yield from _wrapped(f"{week.goal}.", ink)
    yield ""
    yield ink.paint("Read", "bold") + f"  (runner note {week.papers[0].name})" if week.papers else "Read"
    for paper in week.papers:
        yield from textwrap.wrap(
            f"{paper.title}. {paper.authors}, {paper.year}", ink.width, initial_indent="  ", subsequent_indent="    "
        )
        yield ink.paint(f"    {paper.link}", "dim")
    yield ""
    yield from _recipes(journey, week, ink)
    yield ""
    if due := [state for state in journey.deliverables if state.deliverable.week == week.number]:
        yield from checklist(due, ink)
        yield ""
    yield f"Lesson: recipes/{week.phase.folder}/README.md   Log: runner log --week {week.number}"


def _recipes(journey: Journey, week: Week, ink: Ink) -> Iterator[str]:
    yield ink.paint("Run", "bold") + "  (predicted time and cost on each one's box)"
    name = max(len(recipe) for recipe in (*week.recipes, *week.beyond))
    for recipe in (*week.recipes, *week.beyond):
        state, cost = journey.standings[recipe], journey.costs.get(recipe, UNKNOWN)
        mark = ink.paint(f"[{_MARK[state.level]}]", _STYLE[state.level])
        hours = brief_duration(cost.hours) if cost.hours is not None else "-"
        usd = money(cost.usd) if cost.usd else "-"
        more = "  beyond the pair, counts in no total" if recipe in week.beyond else ""
        yield f" {mark} {recipe:<{name}} {hours:>8} {usd:>7} {cost.box}{more}".rstrip()
    yield from _legend(ink)
    yield from _needed(journey, week, ink)
    waiting = [recipe for recipe in week.recipes if journey.standings[recipe].level != "done"]
    if waiting:
        yield f"  {command_for(waiting[0], 'smoke')}"
        yield f"  {command_for(waiting[0], 'full')}"


def _needed(journey: Journey, week: Week, ink: Ink) -> Iterator[str]:
    """What make runs first, since a recipe of the week stands on it, and another week has it."""
    missing = [
        n for n in journey.needed(week.recipes) if n not in week.recipes and journey.standings[n].level != "done"
    ]
    if not missing:
        return
    sum_ = total(journey.costs.get(name, UNKNOWN) for name in missing)
    told = f"Made first where it is needed: {', '.join(missing)} ({duration(sum_.hours)}, {money(sum_.usd)})."
    yield from _wrapped(told, ink)


def _legend(ink: Ink) -> list[str]:
    shown = textwrap.wrap("  ".join(each.replace(" ", _HARD_SPACE) for each in LEGEND), ink.width - 2)
    return [ink.paint("  " + line.replace(_HARD_SPACE, " "), "dim") for line in shown]


def _wrapped(text: str, ink: Ink) -> list[str]:
    return textwrap.wrap(text, ink.width, break_on_hyphens=False)


def as_json(journey: Journey, weeks: Iterable[Week]) -> dict[str, Any]:
    """Stable names, for other programs."""
    left = total(journey.left(journey.plan.weeks))
    following = journey.next()
    return {
        "start": journey.start.isoformat() if journey.start else None,
        "week": journey.today,
        "next": following[1] if following else None,
        "left": {"hours": round(left.hours, 3), "usd": round(left.usd, 2), "without_estimate": left.untold},
        "spent_usd": round(journey.spent_usd, 2),
        "weeks": [_week_json(journey, week) for week in weeks],
        "deliverables": [deliverable_json(state) for state in journey.deliverables],
    }


def _week_json(journey: Journey, week: Week) -> dict[str, Any]:
    return {
        "week": week.number,
        "phase": week.phase.number,
        "goal": week.goal,
        "papers": [{"name": p.name, "title": p.title, "year": p.year, "link": p.link} for p in week.papers],
        "recipes": [_recipe_json(journey, recipe, recipe in week.beyond) for recipe in (*week.recipes, *week.beyond)],
    }


def _recipe_json(journey: Journey, recipe: str, beyond: bool) -> dict[str, Any]:
    state, cost = journey.standings[recipe], journey.costs.get(recipe, UNKNOWN)
    return {
        "recipe": recipe,
        "level": state.level,
        "full": state.full.id if state.full else None,
        "smoke": state.smoke.id if state.smoke else None,
        "predicted": {"box": cost.box, "hours": cost.hours, "usd": cost.usd},
        "beyond": beyond,
    }


def deliverable_json(state: DeliverableState) -> dict[str, Any]:
    return {
        "number": state.deliverable.number,
        "title": state.deliverable.title,
        "week": state.deliverable.week,
        "proven": state.proven,
        "proof": [{"recipe": each.recipe, "level": each.level} for each in state.of],
    }
