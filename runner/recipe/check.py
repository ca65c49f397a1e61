"""Document -> [Diagnostic]: the header, the schema of its kind, then the rules; everything in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from runner.diagnostics import Diagnostic, sort_diagnostics
from runner.facts.boxes import Box, box_names, load_box
from runner.facts.models import Model, find_model, from_config
from runner.recipe.artifacts import model_key
from runner.recipe.document import Document, Node, Path, dotted
from runner.recipe.kinds import engine_of, former_keys, kind_names, kind_schema, refused_values
from runner.recipe.load import MAX_TOLD, printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rules_for

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

FORMAT = 1
DEFAULT_BOX = "2xh100"
WORDS = {"string": "text", "number": "a number", "integer": "a whole number", "boolean": "`true` or `false`"}
WORDS |= {"array": "a list", "object": "a mapping", "null": "nothing"}


def check(doc: Document, root: FilePath | None = None, box: Box | None = None) -> list[Diagnostic]:
    """Everything wrong with a composed recipe, sorted by place, on `box` instead of its own where one is given. Local
    models are looked for below `root`."""
    found = list(check_header(doc))
    if any(d.code in ("R009", "R010") for d in found):
        return found
    _, told = check_kind(doc, str(doc.keys["kind"].value), box, root)
    return sort_diagnostics([*found, *told])


def check_kind(
    doc: Document, kind: str, box: Box | None = None, root: FilePath | None = None
) -> tuple[list[tuple[Path, Diagnostic]], list[Diagnostic]]:
    """What the schema of the kind says, with the path of each key; and all of that together with what the rules say,
    on that box instead of the recipe's own."""
    bad: set[str] = set()
    meant: set[str] = set()
    wrong = list(islice(check_schema(doc, kind), MAX_TOLD))
    found = [diagnostic for _, diagnostic in wrong]
    for path, diagnostic in wrong:
        if path:
            bad.add(str(path[0]))
            if diagnostic.code == "R004":
                # a misspelt key is not missing too
                meant |= {nearest_word(str(path[0]), list(kind_schema(kind)["properties"])) or ""}
    if len(wrong) == MAX_TOLD:
        return wrong, found
    facts = replace(make_facts(without(doc, bad), kind, box, root), refused=frozenset(bad | meant - set(doc.keys)))
    for each in rules_for(engine_of(kind)):
        found += each.check(facts)
    return wrong, found


def check_header(doc: Document) -> Iterator[Diagnostic]:
    """Format version, kind and box: what must hold before a schema can be chosen."""
    version = doc.keys.get("recipe")
    if version is not None and isinstance(version.value, int) and version.value > FORMAT:
        yield Diagnostic(
            "R010",
            f"this recipe is of format {version.value}, this runner reads up to {FORMAT}",
            version.key,
            help="update the runner",
        )
    kind = doc.keys.get("kind")
    kinds = kind_names()
    listed = ", ".join(f"`{k}`" for k in kinds)
    if kind is None:
        yield Diagnostic(
            "R009",
            "the recipe does not say its `kind`",
            replace(doc.root.span, line=1, column=1, width=1),
            notes=(f"kinds: {listed}",),
            help="add `kind: finetune`, or whichever it is",
        )
    elif kind.value not in kinds:
        close = nearest_word(str(kind.value), kinds)
        yield Diagnostic(
            "R009",
            f"unknown kind `{printable(str(kind.plain()))}`",
            kind.span,
            label=f"did you mean `{close}`?" if close else "",
            notes=(f"kinds: {listed}",),
            help=f"set `kind: {close}`" if close else "choose one of these",
        )
    box = doc.keys.get("box")
    if box is not None and isinstance(box.value, str) and box.value not in box_names():
        close = nearest_word(box.value, box_names())
        yield Diagnostic(
            "R012",
            f"unknown box `{printable(box.value)}`",
            box.span,
            label=f"did you mean `{close}`?" if close else "",
            notes=("boxes: " + ", ".join(f"`{b}`" for b in box_names()),),
            help="name one of data/boxes, or add a file there",
        )


@cache
def _validator(kind: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(kind_schema(kind))


def check_schema(doc: Document, kind: str) -> Iterator[tuple[Path, Diagnostic]]:
    """What the kind's schema says, each with the path of the key it is about."""
    errors = list(_validator(kind).iter_errors(doc.plain()))
    wrong = {tuple(e.absolute_path) for e in errors if e.validator == "type"}
    for error in errors:
        # a value of the wrong type is also none of those allowed, which says nothing more
        if error.validator == "type" or tuple(error.absolute_path) not in wrong:
            yield from _translate(error, doc, kind)


def _translate(error: ValidationError, doc: Document, kind: str) -> Iterator[tuple[Path, Diagnostic]]:
    path: Path = tuple(error.absolute_path)
    node = doc.nearest(path)
    key = f"`{printable(dotted(path))}`" if path else "the recipe"
    rule = str(error.validator)
    if rule == "additionalProperties":
        schema: dict[str, Any] = error.schema  # type: ignore[assignment]
        known = schema.get("properties", {})
        for name in node.value if isinstance(node.value, dict) else ():
            if name not in known:
                yield (*path, name), unknown_key(doc, kind, path, name, list(known))
    elif rule == "required":
        missing = error.message.split("'")[1]
        where = node.key if path else replace(doc.root.span, line=1, column=1, width=1)
        extra = " " + kind_note(kind, missing) if not path else ""
        yield (
            path,
            Diagnostic("R006", f"{key} lacks `{missing}`", where, help=f"add `{missing}:`{extra}".rstrip()),
        )
    elif rule == "type":
        yield path, wrong_type(key, node, error)
    else:
        yield path, _elsewhere(wrong_value(key, node, error, rule), kind, path, node.value)


def _elsewhere(found: Diagnostic, kind: str, path: Path, value: Any) -> Diagnostic:
    """With the kinds of the same engine that take the value, or why none does."""
    if len(path) != 1 or not isinstance(value, str):
        return found
    name = str(path[0])
    like = [k for k in kind_names() if k != kind and engine_of(k) == engine_of(kind)]
    takes = [k for k in like if value in kind_schema(k)["properties"].get(name, {}).get("enum", ())]
    if takes:
        listed = " or ".join(f"`{k}`" for k in takes)
        return replace(found, label="", notes=(f"kind {listed} takes it",), help=f"{found.help}, or change `kind`")
    why = refused_values(engine_of(kind)).get(name, {}).get(value)
    return replace(found, label="", notes=(why,)) if why else found


def kind_note(kind: str, key: str) -> str:
    about = kind_schema(kind)["properties"].get(key, {}).get("description", "")
    return f"({about})" if about else ""


def unknown_key(doc: Document, kind: str, path: Path, name: str, known: list[str]) -> Diagnostic:
    node = doc.nearest((*path, name))
    close = nearest_word(name, known)
    shown = printable(name)
    if not path and name in (former := former_keys(engine_of(kind))):
        return Diagnostic("R004", f"unknown key `{shown}`", node.key, help=former[name])
    if not path:
        elsewhere = [k for k in kind_names() if name in kind_schema(k)["properties"]]
        if elsewhere:
            return Diagnostic(
                "R004",
                f"`{shown}` is not a key of kind `{kind}`",
                node.key,
                notes=("it belongs to " + ", ".join(f"`{k}`" for k in elsewhere),),
                help=f"remove `{shown}`, or change `kind`",
            )
    where = f" in `{printable(dotted(path))}`" if path else ""
    return Diagnostic(
        "R004",
        f"unknown key `{shown}`{where}",
        node.key,
        label=f"did you mean `{close}`?" if close else "",
        help=f"rename `{shown}` to `{close}`" if close else f"remove `{shown}`",
    )


def wrong_type(key: str, node: Node, error: ValidationError) -> Diagnostic:
    wanted: Any = error.validator_value
    wanted = [wanted] if isinstance(wanted, str) else [t for t in wanted if t != "null"]
    listed = " or ".join(WORDS[w] for w in wanted)
    help = ""
    text = node.value
    if isinstance(text, str):
        if {"number", "integer"} & set(wanted) and _is_number(text):
            help = f"write {text} without quotes"
        elif "boolean" in wanted and text.lower() in ("yes", "no", "on", "off", "true", "false"):
            # YAML 1.2 reads `no` as text; what was meant is not in doubt
            help = f"write `{'true' if text.lower() in ('yes', 'on', 'true') else 'false'}`"
    return Diagnostic("R007", f"{key} must be {listed}, not {_describe(node.value)}", node.span, help=help)


def wrong_value(key: str, node: Node, error: ValidationError, rule: str) -> Diagnostic:
    limit: Any = error.validator_value
    shown = printable(_yaml_word(node.plain()), 60)
    help = label = ""
    if rule in ("enum", "const"):
        options = [limit] if rule == "const" else [v for v in limit if v is not None]
        close = nearest_word(str(node.value), [str(v) for v in options])
        label = f"did you mean `{close}`?" if close else ""
        message = f"{key} can't be `{shown}`"
        help = "use " + " or ".join(f"`{_yaml_word(v)}`" for v in options)
    elif rule in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
        message = f"{key} must be {words.get(rule, 'less than')} {limit}, not {shown}"
    elif rule in ("minItems", "minLength"):
        message = f"{key} must not be empty"
    else:
        message = f"{key} is not valid: {printable(error.message, 120)}"
    return Diagnostic("R008", message, node.span, label, help=help)


def _yaml_word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'the text "{printable(value, 40)}"'
    return f"`{_yaml_word(value)}`"


def without(doc: Document, keys: set[str]) -> Document:
    """The document less some top-level keys: rules see only what the schema accepted."""
    kept = {k: v for k, v in doc.keys.items() if k not in keys}
    return replace(doc, root=replace(doc.root, value=kept))


def make_facts(doc: Document, kind: str, box: Box | None = None, root: FilePath | None = None) -> Facts:
    return Facts(doc, kind, box or box_of(doc), model_of(doc, root) or _made_before(doc, root), root=root)


def _made_before(doc: Document, root: FilePath | None) -> Model | None:
    """What the recipe that leaves `model: ${needs.x.model}` makes its model from; its sizes are the same."""
    if root is None or "model" not in doc.keys:
        return None
    from runner.project import Project
    from runner.recipe.graph import Library
    from runner.recipe.profile import upstream_model

    return upstream_model(Library(Project(root)), doc)


def box_of(doc: Document) -> Box:
    node = doc.keys.get("box")
    given = node.value if node else None
    return load_box(given if isinstance(given, str) and given in box_names() else DEFAULT_BOX)


def model_of(doc: Document, root: FilePath | None = None) -> Model | None:
    """The facts of the recipe's model: `architecture`, or `base_model` (of a recipe that serves `model`) where it is
    known without the network."""
    own = doc.keys.get("architecture")
    if own is not None and isinstance(own.value, dict):
        return from_config(own.plain(), doc.name)
    base = doc.keys.get(model_key(doc) or "")
    if base is not None and isinstance(base.value, str) and not base.value.startswith("${"):
        return find_model(base.value, root)
    return None
