"""What each recipe of the plan will cost, kept in data/costs.json: planning all takes seconds, a look should not.

`python -m runner.report.costs` writes it. A recipe that is not as it was then is planned anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.project import Project, find_project, shipped, valid_name
from runner.record import write_json

FILE = "costs.json"
# what stands in a recipe and may be another's name
_NAMED = re.compile(r"\b(?:phase\d|serve)/[a-z0-9][a-z0-9._-]*")
# facts on which every plan rests
_FACTS = ("efficiency.yaml", "boxes/*.yaml", "gpus/*.yaml")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a recipe as written, on its own box: wall-clock `hours` and USD of the whole box, and the peak of one GPU.
    None where the plan can't tell (an evaluation, a comparison, what is asked of an index) or where it does not end by
    itself (an endpoint)."""

    box: str
    hours: float | None
    usd: float | None
    gpu_gib: float | None


UNKNOWN = Cost("", None, None, None)


def costs(
    project: Project, recipes: Iterable[str], slowly: Callable[[Sequence[str]], Iterable[str]] = iter
) -> dict[str, Cost]:
    """By recipe. `slowly` goes through those that must be planned now, and may say so."""
    kept, facts = _kept(), facts_digest()
    found, changed = {}, []
    for name in recipes:
        known = kept["recipes"].get(name) if kept.get("facts") == facts else None
        if known is not None and known["digest"] == digest(project, name):
            found[name] = Cost(**{key: known[key] for key in Cost.__slots__})
        else:
            changed.append(name)
    return found | {name: plan_cost(project, name) for name in slowly(changed)}


@cache
def _kept() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((shipped("data") / FILE).read_text())
    except (OSError, ValueError):
        return {"recipes": {}}
    return found


@cache
def facts_digest() -> str:
    data = shipped("data")
    read = hashlib.sha256()
    for pattern in _FACTS:
        for file in sorted(data.glob(pattern)):
            read.update(f"{file.name}\0".encode() + file.read_bytes())
    return read.hexdigest()[:16]


def digest(project: Project, name: str) -> str:
    """Of a recipe and of every recipe that is named in it, directly or not: what it needs, extends, or sweeps."""
    texts: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in texts:
            continue
        try:
            texts[one] = project.recipe_file(one).read_bytes()
        except OSError:
            texts[one] = b""
        waiting += _NAMED.findall(texts[one].decode("utf-8", "replace"))
    whole = b"\0".join(each.encode() + b"\0" + texts[each] for each in sorted(texts))
    return hashlib.sha256(whole).hexdigest()[:16]


def plan_cost(project: Project, name: str) -> Cost:
    """By the plan itself; UNKNOWN where there is none."""
    from runner.plan.any import has_plan, plan_any
    from runner.plan.lenient import SENSELESS, open_any
    from runner.plan.reading import Unplannable
    from runner.recipe.graph import Library
    from runner.recipe.load import Refused
    from runner.recipe.naming import find_recipe

    def nothing_ran(recipe: str, profile: str) -> Path | None:
        return None

    if not valid_name(name):
        return UNKNOWN
    try:
        recipe, _ = open_any(Library(project, "full"), find_recipe(project, name), nothing_ran)
        if not has_plan(recipe.kind):
            return Cost(recipe.box.name, None, None, None)
        plan = plan_any(project, recipe, nothing_ran)
    except (Refused, Unplannable, *SENSELESS):
        return UNKNOWN
    hours, usd, gib = _figures(plan)
    price = recipe.box.price_usd_per_hour
    if usd is None and hours is not None and price:
        usd = hours * price
    return Cost(recipe.box.name, *(None if v is None else float(f"{v:.4g}") for v in (hours, usd, gib)))


def _figures(plan: Any) -> tuple[float | None, float | None, float | None]:
    from runner.plan.rag import RagPlan
    from runner.plan.sweep import SweepPlan
    from runner.plan.types import Plan

    if isinstance(plan, Plan):
        cost, gib = plan.cost, plan.memory.peak.value if plan.gpus else None
        return _value(cost.hours), _value(cost.usd), gib
    if isinstance(plan, SweepPlan):
        return _value(plan.hours), _value(plan.usd), None
    if isinstance(plan, RagPlan):  # how long its ingest takes is known, how long its questions do is not
        return None, None, None
    return getattr(plan, "hours", None), getattr(plan, "usd", None), None


def _value(estimate: Any) -> float | None:
    return None if estimate is None else float(estimate.value)


def collect(project: Project, recipes: Iterable[str]) -> dict[str, Any]:
    """What data/costs.json holds."""
    planned = {name: {"digest": digest(project, name), **asdict(plan_cost(project, name))} for name in recipes}
    return {"facts": facts_digest(), "recipes": planned}


def main() -> None:
    from runner.curriculum import curriculum

    project = find_project()
    named = [name for week in curriculum().weeks for name in (*week.recipes, *week.beyond)]
    file = project.root / "data" / FILE
    write_json(file, collect(project, sorted(named)))
    print(f"{file}: {len(named)} recipes")


if __name__ == "__main__":
    main()
