"""Any engineer's YAML -> Recipe: what can be read is planned, and what `validate` would refuse is told beside it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span, sort_diagnostics
from runner.engines.deepspeed import stage_name
from runner.facts.boxes import Box
from runner.project import Project
from runner.recipe.artifacts import REFERENCE, outputs_of, references
from runner.recipe.check import check_header, check_kind
from runner.recipe.compose import compose
from runner.recipe.document import Document, Node, make_node, walk
from runner.recipe.document import Path as Keys
from runner.recipe.graph import Library, check_needs, needs_of
from runner.recipe.kinds import kind_names
from runner.recipe.load import Refused, printable
from runner.recipe.resolve import LOCAL, Recipe, resolve

Locate = Callable[[str, str], Path | None]
# what values that `validate` refuses may raise in a formula; without such values it is a bug of ours
SENSELESS = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
_RLHF = ("grpo", "gdpo", "ebft", "ppo")
# Axolotl's own schema has no bounds for these
_SIZES = ("micro_batch_size", "gradient_accumulation_steps", "sequence_len", "num_epochs", "lora_r", "save_total_limit")
_STAGE = re.compile(r"(?:zero|stage|[^a-z]z)[-_ ]?([123])", re.IGNORECASE)
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def open_any(
    library: Library, file: Path, locate: Locate, *, sets: tuple[str, ...] = (), box: Box | None = None
) -> tuple[Recipe, list[Diagnostic]]:
    """The recipe as well as it can be read, and everything that `validate` would say of it on that box.

    A config without our header gets one; a value of the wrong type counts as not given. Raises Refused where nothing
    can be read (R001 to R005), where it is put together wrongly (R008, R013, R014) or its own box is unknown (R012).
    """
    project = library.project
    doc, found = _with_header(compose(project, file, profile=library.profile, sets=sets))
    places = _places(file, project)
    doc = _with_files(doc, places)
    found += check_header(doc)
    if box is None and (wrong := [d for d in found if d.code == "R012"]):
        raise Refused(*wrong)
    found = [d for d in found if d.code != "R012"]
    kind = str(doc.keys["kind"].value)
    wrong_at, told = check_kind(doc, kind, box, project.root)
    found += [*told, *check_needs(library, doc)]
    for keys, diagnostic in wrong_at:
        node = doc.find(keys)
        # not text of the wrong words, which a newer engine may know; but `yes` for true, and numbers out of bounds
        wrong_words = node is not None and isinstance(node.value, str) and node.value.lower() not in _WORDS
        if diagnostic.code == "R007" or (diagnostic.code == "R008" and not wrong_words):
            doc = replace(doc, root=_mended(doc.root, keys))
    found = sort_diagnostics(found)
    if negative := [_negative(key, doc.keys[key]) for key in _SIZES if key in doc.keys and _is_negative(doc.keys[key])]:
        raise Refused(*found, *negative)
    doc = _without_loose_ends(library, _headed(_with_stage(doc, places)))
    try:
        recipe = resolve(project, doc, library.profile, locate, library=library)
    except SENSELESS as error:
        if not any(d.is_error for d in found):
            raise
        raise Refused(*found, senseless(doc, error)) from None
    return (replace(recipe, box=box) if box is not None else recipe), found


def senseless(doc: Document, error: Exception) -> Diagnostic:
    """Why values that can be read make no plan (R204)."""
    what = printable(str(error), 200) if isinstance(error, ValueError) else ""
    help = "`runner validate` says what is wrong with the recipe"
    return Diagnostic("R204", f"these values make no plan{what and ': '}{what}", Span(doc.file), help=help)


def _is_negative(node: Node) -> bool:
    return isinstance(node.value, (int, float)) and node.value < 0


def _negative(key: str, node: Node) -> Diagnostic:
    return Diagnostic(
        "R204", f"no plan can be made with `{key}: {node.value}`", node.span, help="give a number above 0"
    )


def _with_header(doc: Document) -> tuple[Document, list[Diagnostic]]:
    """A kind, where the file says none that there is; told once instead of key by key."""
    given = doc.keys.get("kind")
    if given is not None and given.value in kind_names():
        return doc, []
    kind = _kind(doc)
    if given is not None:
        told = list(check_header(doc))
        return _headed(_set(doc, "kind", kind)), told
    told = [
        Diagnostic(
            "R203",
            f"the file has no header: planned as kind `{kind}`",
            Span(doc.file, 1, 1),
            help=f"add `recipe: 1`, `kind: {kind}` and `title:` to run it too",
            severity="warning",
        )
    ]
    return _headed(_set(doc, "kind", kind)), told


def _headed(doc: Document) -> Document:
    for key, value in (("recipe", 1), ("title", doc.name)):
        if doc.keys.get(key) is None:
            doc = _set(doc, key, value)
    return doc


def _kind(doc: Document) -> str:
    """What the keys of a config without a header speak for."""

    def given(key: str) -> Any:
        node = doc.keys.get(key)
        return node.plain() if node is not None else None

    if given("reward_model") or given("process_reward_model"):
        return "reward"
    if given("rl"):
        return "rlhf" if given("rl") in _RLHF else "dpo"
    return "pretrain" if given("pretraining_dataset") or given("architecture") else "finetune"


def _set(doc: Document, key: str, value: Any) -> Document:
    at = doc.keys[key].span if key in doc.keys else Span(doc.file, 1, 1)
    return replace(doc, root=replace(doc.root, value={**doc.keys, key: make_node(value, at)}))


def _places(file: Path, project: Project) -> list[Path]:
    """Where a config's relative paths start: the project; of one outside recipes/ also where the command runs, and
    where the file lies."""
    outside = not any(file.resolve().is_relative_to(folder.resolve()) for folder in project.recipe_folders)
    return [project.root, *((Path.cwd(), file.resolve().parent) if outside else ())]


def _with_files(doc: Document, places: list[Path]) -> Document:
    """Models and data that a config names by a relative path, by their absolute ones."""
    for keys, node in list(walk(doc.root)) if len(places) > 1 else ():
        key = next((part for part in reversed(keys) if isinstance(part, str)), "")
        if key in LOCAL and isinstance(node.value, str) and not node.value.startswith(("/", "${")):
            path = _existing(node.value, places)
            doc = doc if path is None else replace(doc, root=_replaced(doc.root, keys, str(path)))
    return doc


def _with_stage(doc: Document, places: list[Path]) -> Document:
    """`deepspeed` as a stage that we know or a config written out. Raises Refused (R204) where it is neither."""
    node = doc.keys.get("deepspeed")
    if node is None or not isinstance(node.value, str) or not node.value:
        return doc
    return _set(doc, "deepspeed", _deepspeed(node.value, node.span, places))


def _existing(text: str, places: list[Path]) -> Path | None:
    if "\x00" in text or len(text) > 1024:
        return None
    found = (os.path.join(place, text) for place in places)  # noqa: PTH118 - Path's own test raises on odd names
    return next((Path(path) for path in found if os.path.exists(path)), None)  # noqa: PTH110


def _deepspeed(given: str, span: Span, places: list[Path]) -> Any:
    """A stage that we know by name as it stands; else the config in the file, or the stage that its name speaks for."""
    with suppress(ValueError):
        return stage_name(given) and given
    path = _existing(given, places)
    if path is not None:
        with suppress(OSError, ValueError, RecursionError):
            config = json.loads(path.read_text())
            if isinstance(config, dict):
                return config
    stage = _STAGE.search(given)
    if stage is None:
        what = f"`deepspeed: {printable(given)}` is neither a ZeRO stage nor a file that is here"
        raise Refused(Diagnostic("R204", what, span, help="name a stage such as `zero2`, or write the config inline"))
    offload = "_offload" if "offload" in given and stage[1] != "1" else ""
    return f"zero{stage[1]}{offload}"


def _mended(node: Node, keys: Keys) -> Node:
    """Text that spells a number or a truth value becomes one, as Axolotl reads it; anything else is left out."""
    if not keys or not isinstance(node.value, (dict, list)):
        return node
    part, rest = keys[0], keys[1:]
    below = node.child(part)
    if below is None:
        return node
    new = _mended(below, rest) if rest else _meant(below)
    left_out = part if new is None else object()
    put = {part: new} if new is not None else {}
    if isinstance(node.value, dict):
        return replace(node, value={k: put.get(k, v) for k, v in node.value.items() if k != left_out})
    return replace(node, value=[put.get(i, v) for i, v in enumerate(node.value) if i != left_out])


def _meant(node: Node) -> Node | None:
    if not isinstance(node.value, str):
        return None
    text = node.value.strip().lower()
    if text in _WORDS:
        return replace(node, value=_WORDS[text])
    for number in (int, float):
        with suppress(ValueError):
            return replace(node, value=number(text.replace("_", "")))
    return None


def _without_loose_ends(library: Library, doc: Document) -> Document:
    """Less the needs that can't be read, and with references to nothing as plain words."""
    outputs: dict[str, set[str]] = {}
    for alias, node in needs_of(doc).items():
        with suppress(Refused, KeyError):
            outputs[alias] = {output.name for output in outputs_of(library.get(str(node.value)))}
    needs = doc.keys.get("needs")
    if needs is not None and isinstance(needs.value, dict) and set(needs.value) != set(outputs):
        kept = {alias: node for alias, node in needs.value.items() if alias in outputs}
        doc = replace(doc, root=replace(doc.root, value={**doc.keys, "needs": replace(needs, value=kept)}))
    for keys, node in list(references(doc)):
        match = REFERENCE.fullmatch(str(node.value))
        if match and match["output"] not in outputs.get(match["alias"], ()):
            doc = replace(doc, root=_replaced(doc.root, keys, printable(f"{match['alias']}/{match['output']}")))
    return doc


def _replaced(node: Node, keys: Keys, text: str) -> Node:
    if not keys:
        return replace(node, value=text)
    if isinstance(node.value, dict):
        return replace(
            node, value={k: _replaced(v, keys[1:], text) if k == keys[0] else v for k, v in node.value.items()}
        )
    assert isinstance(node.value, list)
    return replace(node, value=[_replaced(v, keys[1:], text) if i == keys[0] else v for i, v in enumerate(node.value)])
