"""Recipe -> the files of Axolotl's plain config, and what they leave out; refuses kinds that Axolotl doesn't train."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic, Span
from runner.engines.axolotl import plain
from runner.importing.kind import ENGINE
from runner.importing.plain import plain_text
from runner.recipe.resolve import Recipe
from runner.render import to_json

# header keys, and what a run of the recipe does by them
_OURS = {
    "merge": "`axolotl merge-lora` merges the adapter",
    "prepared": "the shards are read by a plugin of the runner's",
    "model_code": "the classes are registered by a plugin of the runner's",
    "questions": "the questions are asked by a program of the runner's",
    "new_projector": "the projector is drawn anew by a plugin of the runner's",
}


def exported(recipe: Recipe, source: str) -> tuple[dict[str, str], list[Diagnostic]]:
    """`source` is the text of the recipe's own file. The config is the file "", others are named as the config names
    them. Raises Refused (R816)."""
    from runner.recipe.load import Refused

    if recipe.engine != ENGINE:
        kind = recipe.doc.keys["kind"]
        raise Refused(
            Diagnostic(
                "R816",
                f"kind `{recipe.kind}` is not trained by Axolotl",
                kind.span,
                label=f"it runs on {recipe.engine}",
                help=f"`runner render {recipe.name}` writes what its own engine reads",
            )
        )
    where = f"{recipe.name}, profile {recipe.profile}"
    files = {"": plain_text(source, recipe.doc.plain(), plain(recipe), where)}
    if recipe.architecture is not None:
        files["model/config.json"] = to_json(recipe.architecture) + "\n"
    return files, list(_left_out(recipe))


def _left_out(recipe: Recipe) -> Iterator[Diagnostic]:
    for key, why in _OURS.items():
        node = recipe.doc.keys.get(key)
        if node is not None and node.value not in (None, False):
            yield _told(f"a plain config has no `{key}`", node.key, why)
    if recipe.architecture is not None:
        at = recipe.doc.keys["architecture"].key
        yield _told("a plain config has no `architecture`", at, "the model's config.json lies in `model/` beside it")
    if recipe.tiny is not None:
        base = recipe.doc.keys.get("base_model")
        at = base.key if base is not None else Span(recipe.doc.file)
        yield _told("the smoke profile's tiny model is not in a config", at, "a run builds it before it trains")
    for upstream in recipe.missing:
        node = recipe.doc.find(("needs", upstream.alias))
        at = node.key if node is not None else Span(recipe.doc.file)
        yield _told(f"`{upstream.recipe}` has not run yet", at, "what it leaves will lie where the config says")


def _told(message: str, at: Span, why: str) -> Diagnostic:
    return Diagnostic("R817", message, at, notes=(why,), severity="warning")
