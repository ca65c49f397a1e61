"""Everything wrong with a sweep's children, each at the line of the sweep or of its base, told once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runner.diagnostics import Diagnostic
from runner.recipe.check import check
from runner.recipe.document import Document
from runner.recipe.graph import Library, check_needs
from runner.recipe.load import Refused
from runner.recipe.sweep.children import children_of


def check_sweep(library: Library, doc: Document) -> Iterator[Diagnostic]:
    """R420 to R423, and what `runner validate` would say of each child."""
    try:
        children = children_of(library, doc)
    except Refused as refused:
        yield from refused.diagnostics
        return
    told: set[tuple[str, str, object]] = set()
    for child in children:
        for found in [*check(child.staged, library.project.root), *check_needs(library, child.doc)]:
            key = (found.code, found.message, found.span)
            if key in told:
                continue
            told.add(key)
            here = found.span.file == doc.file
            yield found if here else replace(found, notes=(*found.notes, f"in the child `{child.name}` of this sweep"))
