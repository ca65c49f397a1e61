"""`needs`: which recipes a recipe stands on, and whether what they leave is what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.diagnostics import Diagnostic
from runner.project import Project
from runner.recipe.artifacts import REFERENCE, accepted, outputs_of, references
from runner.recipe.compose import compose
from runner.recipe.document import Document, Node, dotted
from runner.recipe.kinds import kind_names, serves
from runner.recipe.load import Refused, printable
from runner.recipe.naming import find_recipe, nearest_word

PLAIN_REFERENCES = ("${data}", "${project}")


@dataclass(slots=True)
class Library:
    """Composed recipes of one project and profile, each read once."""

    project: Project
    profile: str = "full"
    _read: dict[str, Document] = field(default_factory=dict)

    def get(self, name: str) -> Document:
        """Raises Refused where the recipe is missing or can't be read."""
        if name not in self._read:
            self._read[name] = compose(self.project, find_recipe(self.project, name), profile=self.profile)
        return self._read[name]

    def add(self, doc: Document) -> None:
        self._read[doc.name] = doc


def needs_of(doc: Document) -> dict[str, Node]:
    """alias -> the node that names the recipe."""
    node = doc.keys.get("needs")
    given = node.value if node is not None and isinstance(node.value, dict) else {}
    return {alias: n for alias, n in given.items() if isinstance(n.value, str)}


def check_needs(library: Library, doc: Document) -> Iterator[Diagnostic]:
    """Missing and cyclic needs, and every reference that asks for what is not there (R401 to R406)."""
    library.add(doc)
    found: dict[str, Document] = {}
    for alias, node in needs_of(doc).items():
        try:
            upstream = library.get(str(node.value))
        except Refused as refused:
            why = refused.diagnostics[0]
            if why.code == "R001":
                yield Diagnostic("R401", f"`needs`: {why.message}", node.span, help=why.help)
            else:
                yield Diagnostic(
                    "R401",
                    f"`needs`: `{node.value}` is itself not valid",
                    node.span,
                    notes=(f"{why.code}: {why.message}",),
                    help=f"`runner validate {node.value}` shows what is wrong with it",
                )
            continue
        kind = upstream.keys.get("kind")
        if kind is None or kind.value not in kind_names():
            yield Diagnostic(
                "R401",
                f"`needs`: `{node.value}` is itself not valid",
                node.span,
                notes=("R009: it has no kind, or an unknown one",),
                help=f"`runner validate {node.value}` shows what is wrong with it",
            )
            continue
        circle = _circle(library, doc.name, str(node.value), (doc.name,), set())
        if circle:
            shown = " -> ".join(circle)
            yield Diagnostic(
                "R402", "`needs` leads back to this recipe", node.span, notes=(shown,), help="break the circle"
            )
            continue
        if serves(str(kind.value)):
            yield Diagnostic(
                "R919",
                f"`needs`: `{node.value}` is served until it is stopped, so nothing can wait for its end",
                node.span,
                help="need what it serves; a recipe that asks a model starts and stops its own server",
            )
            continue
        found[alias] = upstream
    known, own = set(needs_of(doc)), doc.keys.get("kind")
    name = str(own.value) if own is not None and own.value in kind_names() else ""
    for path, node in references(doc):
        yield from _check_reference(path, node, found, known, name)


def _circle(library: Library, goal: str, name: str, behind: tuple[str, ...], seen: set[str]) -> tuple[str, ...] | None:
    behind = (*behind, name)
    if name == goal:
        return behind
    if name in seen:
        return None  # a circle further up is that recipe's own error
    seen.add(name)
    try:
        doc = library.get(name)
    except Refused:
        return None
    for node in needs_of(doc).values():
        circle = _circle(library, goal, str(node.value), behind, seen)
        if circle:
            return circle
    return None


def _check_reference(
    path: tuple[str | int, ...], node: Node, found: dict[str, Document], known: set[str], kind: str
) -> Iterator[Diagnostic]:
    text = str(node.value)
    match = REFERENCE.fullmatch(text)
    if match is None:
        for plain in PLAIN_REFERENCES:
            text = text.replace(plain, "")
        if "${needs" in text or text.startswith("${"):
            yield Diagnostic(
                "R406",
                f"`{printable(text)}` is not a reference",
                node.span,
                notes=("references are `${needs.ALIAS.OUTPUT}`, `${data}` and `${project}`, spelt exactly so",),
                help="for instance `${needs.sft.model}`, alone in its value",
            )
        return
    alias, wanted = match["alias"], match["output"]
    if alias not in known:
        close = nearest_word(alias, sorted(known))
        yield Diagnostic(
            "R403",
            f"`needs` has no `{printable(alias)}`",
            node.span,
            label=f"did you mean `{close}`?" if close else "",
            help=f"use `{close}`" if close else f"add `needs: {{{alias}: RECIPE}}`",
        )
        return
    if alias not in found:
        return  # told at `needs`
    yield from _check_output(path, node, alias, wanted, found[alias], kind)


def _check_output(
    path: tuple[str | int, ...], node: Node, alias: str, wanted: str, upstream: Document, kind: str
) -> Iterator[Diagnostic]:
    outputs = {o.name: o for o in outputs_of(upstream)}
    leaves = ", ".join(f"`{o.name}` (type {o.type})" for o in outputs.values())
    if wanted not in outputs:
        merges = wanted == "model" and "adapter" in outputs
        yield Diagnostic(
            "R404",
            f"`{upstream.name}` leaves no `{printable(wanted)}`",
            node.span,
            notes=(f"it leaves {leaves}",),
            help=f"set `merge: true` in `{upstream.name}`, so that it leaves a whole model"
            if merges
            else "use one of these",
        )
        return
    takes = accepted(path, kind)
    if takes is not None and outputs[wanted].type not in takes:
        fitting = next((o.name for o in outputs.values() if o.type in takes), None)
        merges = outputs[wanted].type == "adapter" and "model" in takes
        mend = f"use `${{needs.{alias}.{fitting}}}`" if fitting else "need a recipe that leaves one"
        if merges and not fitting:
            mend = f"set `merge: true` in `{upstream.name}` and use `${{needs.{alias}.model}}`"
        if outputs[wanted].type == "quantized-model" and "model" in takes:
            mend = f"need what `{upstream.name}` quantizes, which is whole"
        yield Diagnostic(
            "R405",
            f"`{dotted(path)}` takes a {' or '.join(takes)}, "
            f"`{wanted}` of `{upstream.name}` is of type {outputs[wanted].type}",
            node.span,
            help=mend,
        )
