"""A composed recipe -> resolved, with its lock's commits in place; and whether its lock still holds."""

from __future__ import annotations

from runner.diagnostics import Diagnostic
from runner.project import Project
from runner.provenance.lock import differences, pinned, read_lock
from runner.recipe.document import Document
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from runner.record import latest


def resolve_pinned(library: Library, doc: Document, lock: Document | None) -> Recipe:
    """Raises Refused, as `resolve` does."""
    project, profile = library.project, library.profile
    doc = pinned(doc, lock, profile, project.root)
    return resolve(project, doc, profile, lambda r, p: latest(project, r, p), library=library)


def lock_differences(library: Library, doc: Document) -> list[Diagnostic]:
    """R450 and R451: what is stale about a recipe's lock; empty where it has none. `doc` must have passed `check`."""
    try:
        lock = read_lock(doc.file)
        if lock is None or library.profile not in lock.keys:
            return []
        return differences(library.project, resolve_pinned(library, doc, lock), lock)
    except Refused as refused:
        return refused.diagnostics


def refuse_stale_lock(project: Project, recipe: Recipe, *, sets: bool) -> None:
    """Raises Refused (R450) where something else than the locked would run. `recipe` is pinned already."""
    found = differences(project, recipe, read_lock(recipe.doc.file), sets=sets)
    if found:
        raise Refused(*found)
