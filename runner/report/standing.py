"""How far each recipe of the plan has been taken here, and with it each deliverable: from run records alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from runner.curriculum import Curriculum, Deliverable
from runner.project import Project
from runner.recipe.graph import Library, needs_of
from runner.recipe.kinds import kind_names, serves
from runner.recipe.load import Refused
from runner.record import Run, latest, profile_dir, read_run

Level = Literal["done", "running", "failed", "smoked", "new"]


@dataclass(frozen=True, slots=True)
class Standing:
    """`full` and `smoke` are the newest finished runs as written, None where there is none; `newest` is the newest
    full run that has not finished, where nothing has."""

    recipe: str
    full: Run | None
    smoke: Run | None
    newest: Run | None

    @property
    def level(self) -> Level:
        """Only a finished full run is `done`; a smoke run shows that the pipeline works, and nothing more."""
        if self.full is not None:
            return "done"
        if self.newest is not None:
            return "running" if self.newest.status == "running" else "failed"
        return "smoked" if self.smoke is not None else "new"


def standing(project: Project, recipe: str) -> Standing:
    """A run that `--set` cut short has finished and proves nothing: it is never `latest`."""
    full, smoke = (_finished(project, recipe, profile) for profile in ("full", "smoke"))
    unfinished = (run for run in _newest_first(project, recipe, "full") if run.status not in ENDED_WELL)
    return Standing(recipe, full, smoke, None if full else next(unfinished, None))


ENDED_WELL = ("finished", "stopped")


def _finished(project: Project, recipe: str, profile: str) -> Run | None:
    """What is served ends as `stopped` and has no `latest`: it counts if it came to answer."""
    path = latest(project, recipe, profile)
    if path is not None:
        return read_run(path)
    for run in _newest_first(project, recipe, profile):
        kind = str(run.record.get("kind"))
        if kind not in kind_names() or not serves(kind):
            return None
        if run.status == "stopped" and run.record.get("measured", {}).get("ready_after_s") is not None:
            return run
    return None


def _newest_first(project: Project, recipe: str, profile: str) -> Iterator[Run]:
    """Each read when it is asked for: there may be thousands."""
    folder = profile_dir(project, recipe, profile)
    names = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    yield from (run for run in map(read_run, names) if run is not None)


def needed(project: Project, recipes: Iterable[str]) -> list[str]:
    """All that recipes stand on, directly or not, first what is made first; without themselves."""
    library, found = Library(project), dict[str, None]()

    def visit(name: str, above: tuple[str, ...]) -> None:
        try:
            needs = needs_of(library.get(name))
        except Refused:
            return
        for node in needs.values():
            if (below := str(node.value)) not in (*above, *found):
                visit(below, (*above, below))
                found[below] = None

    asked = list(recipes)
    for recipe in asked:
        visit(recipe, (recipe,))
    return [name for name in found if name not in asked]


@dataclass(frozen=True, slots=True)
class DeliverableState:
    """`of` in the order of the deliverable's proof."""

    deliverable: Deliverable
    of: tuple[Standing, ...]

    @property
    def done(self) -> int:
        return sum(each.level == "done" for each in self.of)

    @property
    def proven(self) -> bool:
        return self.done == len(self.of)

    @property
    def smoked(self) -> int:
        return sum(each.smoke is not None for each in self.of)


def deliverables(project: Project, plan: Curriculum) -> list[DeliverableState]:
    """The checklist, by number."""
    return [DeliverableState(d, tuple(standing(project, recipe) for recipe in d.proof)) for d in plan.deliverables]
