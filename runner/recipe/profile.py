"""A composed recipe as one profile runs it, and the model behind it."""

from __future__ import annotations

from collections.abc import Sequence

from runner.facts.models import Model
from runner.recipe.artifacts import REFERENCE, model_key
from runner.recipe.check import model_of
from runner.recipe.document import Document
from runner.recipe.graph import Library, needs_of
from runner.recipe.load import Refused
from runner.recipe.smoke import TinyModel, smoke


def in_profile(library: Library, doc: Document, profile: str) -> tuple[Document, TinyModel | None, Model | None]:
    """The recipe as this profile runs it, the tiny model that stands in where one does, and the real model's facts.

    Raises Refused (R407).
    """
    library.add(doc)
    model = model_of(doc, library.project.root) or _upstream_model(library, doc, ())
    if profile != "smoke":
        return doc, None, model
    staged, tiny = smoke(library.project, doc, model)
    return staged, tiny, model


def _upstream_model(library: Library, doc: Document, seen: Sequence[str]) -> Model | None:
    """The architecture that `base_model: ${needs.x.model}` will have: that of the recipe it comes from."""
    base = doc.keys.get(model_key(doc) or "")
    match = REFERENCE.fullmatch(str(base.value)) if base is not None else None
    need = needs_of(doc).get(match["alias"]) if match else None
    if need is None or need.value in seen:
        return None
    try:
        upstream = library.get(str(need.value))
    except Refused:
        return None
    return model_of(upstream, library.project.root) or _upstream_model(library, upstream, [*seen, doc.name])
