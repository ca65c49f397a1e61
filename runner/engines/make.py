"""GNU Make, or a Slurm array: a sweep's children, each an ordinary run, as many at a time as there are slots."""

from __future__ import annotations

import re
from typing import Any

from runner.engines import Step
from runner.facts.boxes import Box
from runner.recipe.check import box_of
from runner.recipe.resolve import Recipe

# children are carried out by the runner itself
ENVIRONMENT = "runner"


def jobs(recipe: Recipe) -> tuple[str, ...]:
    return ()


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = [Step("children", f"{len(recipe.children)} runs, {slots(recipe)} at a time"), Step("collect", "one table")]
    found += [Step("draw", "tables and figures of the children side by side")] if recipe.values.get("figures") else []
    return (*found, Step("fit", ", ".join(recipe.values["fit"]))) if recipe.values.get("fit") else tuple(found)


def slots(recipe: Recipe) -> int:
    """Children at a time: `parallel`, else as many as the box has GPUs for, or cores where it has none."""
    given = recipe.values.get("parallel")
    most = max((room(recipe.box, box_of(child.staged)) for child in recipe.children), default=1)
    return max(1, min(int(given) if given else most, most, len(recipe.children)))


def room(box: Box, each: Box) -> int:
    """Children with a box like `each` that `box` has room for at once."""
    if not box.gpus:
        return max(1, box.cores)
    return max(1, box.gpus // each.gpus) if each.gpus else box.gpus


def threads(recipe: Recipe) -> int:
    """OpenMP's threads of a child, whose share of the cores they fill. In smoke one for each of its processes: as it is
    without a sweep; two ranks with two threads each took 79 s on two cores for what takes them 17 s with one each."""
    return 1 if recipe.profile == "smoke" else max(1, recipe.box.cores // slots(recipe))


def context(recipe: Recipe) -> dict[str, Any]:
    most = max((box_of(child.staged).gpus for child in recipe.children), default=0)
    return {
        "children": {child.name: child.recipe(recipe.profile) for child in recipe.children},
        "slots": slots(recipe),
        "threads": threads(recipe),
        "gpus": most,  # of the hungriest child: a slot holds as many
        "points": {child.name: {"parameters": child.parameters, "axes": child.axes} for child in recipe.children},
        "slurm": dict(recipe.values.get("slurm") or {}) if recipe.values.get("scheduler") == "slurm" else None,
        "figures": bool(recipe.values.get("figures")),
        "fits": list(recipe.values.get("fit") or ()),
    }


_FAILED = re.compile(r"child (?P<name>\S+) failed")
_MESSAGE = re.compile(r"(?:\S+: )?error(?:\[R\d+\])?: .*")


def failure(log: str) -> str | None:
    """The children that failed in the last call; where none did, the last diagnostic of a step after them."""
    last = log.rpartition("=== children")[2]
    names = list(dict.fromkeys(m["name"] for m in map(_FAILED.fullmatch, last.splitlines()) if m))
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return f"{len(names)} of the sweep's children failed: {shown}; run it again to retry these alone"
    return next((line for line in reversed(last.splitlines()) if _MESSAGE.fullmatch(line)), None)
