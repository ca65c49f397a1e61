"""File + extends + profile + --set -> one Document, in which every value still knows where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.project import Project
from runner.recipe.document import Document, Node, make_node, merge, parse_path
from runner.recipe.kinds import kind_names, kind_schema
from runner.recipe.load import Refused, load, parse, printable
from runner.recipe.naming import find_recipe, nearest_word

PROFILES = ("full", "smoke")


def compose(project: Project, file: Path, *, profile: str = "full", sets: Sequence[str] = ()) -> Document:
    """The recipe in `file` with its parents below it, then its own keys for `profile`, then `--set` on top.

    Raises Refused (R001 to R005, R013 for `extends`, R014 for `--set`).
    """
    return in_profile(with_parents(project, file), profile, sets)


def with_parents(project: Project, file: Path) -> Document:
    """The recipe in `file` with its parents below it, its profiles not yet chosen from. Raises Refused."""
    doc = _with_parents(project, file, ())
    return replace(doc, root=_with_needs_of_bases(project, doc))


def in_profile(doc: Document, profile: str, sets: Sequence[str] = ()) -> Document:
    """What `with_parents` gave, as it is in one profile. Raises Refused."""
    own = doc.keys.get("profiles")
    chosen = own.child(profile) if own is not None else None
    root = doc.root
    wishes = []
    if own is not None and _well_formed(own):
        rest = {k: v for k, v in doc.keys.items() if k != "profiles"}
        root = replace(root, value=rest)
        _check_profiles(own)
        wishes += [chosen] if chosen is not None else []
    wishes += [_setting(text, doc) for text in sets]
    for wish in wishes:
        root = merge(root, wish)
    return replace(doc, root=root, wishes=reduce(merge, wishes) if wishes else None)


def _with_needs_of_bases(project: Project, doc: Document) -> Node:
    """A sweep needs whatever its children's bases need. One that can't be read is told where the sweep is checked."""
    points = doc.keys.get("points")
    listed = points.value if points is not None and isinstance(points.value, list) else []
    root = doc.root
    for node in (doc.keys.get("base"), *(point.child("base") for point in listed)):
        if node is None or not isinstance(node.value, str):
            continue
        try:
            needs = _with_parents(project, find_recipe(project, node.value), (Path(doc.file).resolve(),)).keys.get(
                "needs"
            )
        except Refused:
            continue
        if needs is not None:
            root = merge(replace(root, value={"needs": needs}), root)
    return root


def _well_formed(profiles: Node) -> bool:
    """Anything else is left in place, for the schema to refuse."""
    return isinstance(profiles.value, dict) and all(isinstance(n.value, dict) for n in profiles.value.values())


def _check_profiles(node: Node) -> None:
    for name, below in node.value.items() if isinstance(node.value, dict) else ():
        if name not in PROFILES:
            close = nearest_word(name, list(PROFILES))
            raise Refused(
                Diagnostic(
                    "R008",
                    f"unknown profile `{printable(name)}`",
                    below.key,
                    label=f"did you mean `{close}`?" if close else "",
                    help="profiles are `full` and `smoke`",
                )
            )


def _with_parents(project: Project, file: Path, children: tuple[Path, ...]) -> Document:
    doc = load(file, project.recipe_name(file))
    node = doc.keys.get("extends")
    if node is None or not isinstance(node.value, str):
        return doc
    try:
        parent_file = find_recipe(project, node.value)
    except Refused as refused:
        why = refused.diagnostics[0]
        raise Refused(replace(why, code="R013", message=f"`extends`: {why.message}", span=node.span)) from None
    if parent_file.resolve() in (*children, file.resolve()):
        raise Refused(
            Diagnostic("R013", f"`extends: {node.value}` leads back to this recipe", node.span, help="break the circle")
        )
    parent = _with_parents(project, parent_file, (*children, file.resolve()))
    own = {k: v for k, v in doc.keys.items() if k != "extends"}
    return replace(doc, root=merge(parent.root, replace(doc.root, value=own)))


def _setting(text: str, doc: Document) -> Node:
    """`trl.num_generations=4` as a tree of Nodes; the schema's type decides how the value is read."""
    span = Span(f"<--set {printable(text, 60)}>")
    key, equals, raw = text.partition("=")
    path = parse_path(key.strip())
    if not equals or not all(path):
        raise Refused(
            Diagnostic(
                "R014", f"`--set {printable(text)}` is not of the form key=value", span, help="--set max_steps=10"
            )
        )
    if path[0] in ("extends", "profiles"):
        raise Refused(
            Diagnostic(
                "R014", f"`--set` can't change `{path[0]}`", span, help="set the keys themselves, or edit the recipe"
            )
        )
    node = make_node(_typed(raw.strip(), _wants_text(doc, path), span), span)
    for i in range(len(path) - 1, -1, -1):
        part = path[i]
        if isinstance(part, int):
            raise Refused(
                Diagnostic("R014", f"`--set` can't reach into the list `{key}`", span, help="set the whole list")
            )
        node = Node({part: node}, span, span)
    return node


def _typed(raw: str, text_wanted: bool, span: Span) -> Any:
    """`raw` as YAML, and as it stands where the key takes text and YAML makes something else of it."""
    try:
        read = parse(f"value: {raw or 'null'}\n", span.file, "--set").plain()
    except Refused as refused:
        if text_wanted:
            return raw
        raise Refused(*(replace(d, code="R014", span=span) for d in refused.diagnostics)) from None
    if text_wanted and not (isinstance(read["value"], str) or read["value"] is None):
        return raw
    if len(read) > 1:
        raise Refused(Diagnostic("R014", "`--set` takes one value", span, help="give `--set` once for each key"))
    return read["value"]


def _wants_text(doc: Document, path: tuple[str | int, ...]) -> bool:
    """True where the kind's schema takes only text at `path`, so that `--set lora_r=16` is a number and
    `--set wandb_name=16` is not."""
    kind = doc.keys.get("kind")
    if kind is None or kind.value not in kind_names():
        return False
    schema = kind_schema(str(kind.value))
    for part in path:
        others = schema.get("additionalProperties")
        schema = schema.get("properties", {}).get(part, others if isinstance(others, dict) else {})
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    return "string" in types and set(types) <= {"string", "null"}
