"""A sweep's points -> its children: the base with each point's keys, and as many steps as its budget buys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.facts.families import architecture_of
from runner.recipe.check import box_of
from runner.recipe.document import Document, Node, make_node, merge
from runner.recipe.graph import Library
from runner.recipe.kinds import engine_of, kind_names, kind_schema
from runner.recipe.load import Refused, printable
from runner.recipe.profile import in_profile
from runner.recipe.sweep.design import Point, points_of, slug

ENGINE = "make"
# a curve of fewer steps than this says nothing of a model
LEAST_STEPS = 10
# how each engine calls a micro batch
_MICRO_BATCH = ("micro_batch_size", "per_device_train_batch_size")


@dataclass(frozen=True, slots=True)
class Child:
    """`doc` is the composed recipe, `staged` the same as the profile runs it; `span` is where the design asks for it.
    `axes` are what varies between the children; `parameters` is None where the model is not from scratch."""

    name: str
    span: Span
    doc: Document
    staged: Document
    axes: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None

    def recipe(self, profile: str) -> dict[str, Any]:
        """The child's own file: complete, so that nobody's later edit of the base changes it."""
        plain = self.doc.plain()
        if profile != "full" and self.doc.wishes is not None:
            plain["profiles"] = {profile: self.doc.wishes.plain()}
        return plain


def is_sweep(doc: Document) -> bool:
    kind = doc.keys.get("kind")
    return kind is not None and kind.value in kind_names() and engine_of(str(kind.value)) == ENGINE


def children_of(library: Library, doc: Document) -> list[Child]:
    """In the design's order. Raises Refused: R420 a base that won't do, R421 no children, R422 two of one name, R423 a
    budget that buys too little, or no model to count."""
    points = points_of(doc)
    if not points:
        span = next((doc.keys[k].key for k in ("points", "grid", "isoflop", "base") if k in doc.keys), doc.root.span)
        raise Refused(_no_children(span, "the sweep has no design"))
    found = [child for point in points if (child := _child(library, doc, point)) is not None]
    if not found:
        node = doc.find("isoflop.tokens_per_parameter")
        span = node.key if node is not None else doc.root.span
        raise Refused(_no_children(span, "`tokens_per_parameter` leaves no child"))
    seen: dict[str, Child] = {}
    for child in found:
        if child.name in seen:
            raise Refused(
                Diagnostic(
                    "R422",
                    f"two children are called `{child.name}`",
                    child.span,
                    notes=("a child's name is the place of its run",),
                    help="give each point a name of its own, each axis different values",
                )
            )
        seen[child.name] = child
    return found


def _no_children(span: Span, message: str) -> Diagnostic:
    return Diagnostic("R421", message, span, help="give it `points`, a `grid`, an `isoflop` design or `seeds`")


def _child(library: Library, sweep: Document, point: Point) -> Child | None:
    base = _base(library, sweep, point)
    if "set" in sweep.keys:
        # as if the base said so: a profile's settings win over it, unless it is the profile that the sweep says it in
        wished = sweep.wishes.child("set") if sweep.wishes is not None else None
        wishes = wished if base.wishes is None else merge(base.wishes, wished) if wished is not None else base.wishes
        base = replace(base, root=merge(base.root, sweep.keys["set"]), wishes=wishes)
    doc = _laid_over(library, base, point.overlay, sweep, point.name)
    staged, _, _ = in_profile(library, doc, library.profile)
    parameters = _parameters(staged)
    if point.budget is None:
        return Child(point.name, point.span, doc, staged, point.axes, parameters)
    bought = _budgeted(sweep, point, staged, parameters)
    if bought is None:
        return None
    budget = slug(f"{point.axes['budget']:.3g}")
    name = f"c{budget}-n{slug(_count(parameters or 0))}{_rest(point.name)}"
    doc = _laid_over(library, doc, bought, sweep, name)
    staged, _, _ = in_profile(library, doc, library.profile)
    return Child(name, point.span, doc, staged, point.axes, parameters)


def _rest(name: str) -> str:
    """What grid and seeds added to `c1e18-s3`."""
    parts = name.split("-", 2)
    return f"-{parts[2]}" if len(parts) > 2 else ""


def _base(library: Library, sweep: Document, point: Point) -> Document:
    node = point.base or sweep.keys["base"]

    def unusable(message: str, *notes: str, help: str = "") -> Refused:
        return Refused(Diagnostic("R420", message, node.span, notes=notes, help=help))

    try:
        base = library.get(str(node.value))
    except Refused as refused:
        why = refused.diagnostics[0]
        raise unusable(f"`base`: {why.message}", help=why.help) from None
    if is_sweep(base) or base.name == sweep.name:
        raise unusable(f"`base`: `{base.name}` is a sweep itself", help="name the recipe that its children start from")
    kind = base.keys.get("kind")
    if kind is None or kind.value not in kind_names():
        raise unusable(
            f"`base`: `{printable(str(node.value))}` is itself not valid",
            help=f"`runner validate {printable(str(node.value))}` shows what is wrong with it",
        )
    return base


def _laid_over(library: Library, under: Document, over: Node, sweep: Document, name: str) -> Document:
    """`over` wins over everything, the profile's settings included."""
    title = f"{str(sweep.keys['title'].value)[:90]}: {name}"[:120]
    root = merge(merge(under.root, over), make_node({"title": title}, over.span))
    wishes = None
    if library.profile != "full":
        wishes = merge(under.wishes, over) if under.wishes is not None else over
    return replace(under, name=f"{sweep.name}/{name}", root=root, wishes=wishes)


def _parameters(staged: Document) -> int | None:
    node = staged.keys.get("architecture")
    if node is None or not isinstance(node.value, dict):
        return None
    try:
        return architecture_of(node.plain()).parameters
    except (ValueError, KeyError, TypeError):
        return None  # the child's own check says what is wrong with it


def _budgeted(sweep: Document, point: Point, staged: Document, parameters: int | None) -> Node | None:
    """The keys that make a child spend its budget; None where its tokens per parameter are out of bounds.

    Tokens are budget / (6 x parameters), the convention of Hoffmann et al. 2022 (arXiv 2203.15556, section 3), in whole
    steps of the child's batch.
    """
    assert point.budget is not None
    kind = str(staged.keys["kind"].value)
    if not parameters or "max_steps" not in kind_schema(kind)["properties"]:
        raise Refused(
            Diagnostic(
                "R423",
                "a budget needs a model from scratch, whose parameters can be counted",
                point.span,
                help="name a `base` with an `architecture`",
            )
        )
    flops = float(str(point.budget.value))
    tokens = flops / (6 * parameters)
    bounds = sweep.find("isoflop.tokens_per_parameter")
    if bounds is not None:
        low, high = bounds.plain()
        if not low <= tokens / parameters <= high:
            return None
    per_step = step_tokens(staged.plain(), max(1, box_of(staged).total_gpus))
    steps = round(tokens / per_step)
    if steps < LEAST_STEPS:
        raise Refused(
            Diagnostic(
                "R423",
                f"a budget of {flops:.3g} FLOPs buys {_count(parameters)} parameters {max(0, steps)} steps",
                point.budget.span,
                label=f"{tokens:,.0f} tokens, {per_step:,} in a step",
                help="raise the budget, lower the batch, or leave such children out by `tokens_per_parameter`",
            )
        )
    span = point.budget.span
    known = kind_schema(kind)["properties"]
    found: dict[str, Any] = {"max_steps": steps}
    # a cosine must end where the run does (Hoffmann et al. 2022, appendix B), and what counts is the loss there
    found |= {key: steps for key in ("eval_steps", "save_steps") if key in known and key in staged.keys}
    return make_node(found, span)


def step_tokens(values: Mapping[str, Any], gpus: int) -> int:
    """Tokens of one optimizer step of a recipe whose rows are full."""
    micro = next((int(values[k]) for k in _MICRO_BATCH if values.get(k)), 1)
    shared = 1
    for ways in ("tensor_parallel_size", "context_parallel_size", "pipeline_parallel_size"):
        shared *= int(values.get(ways) or 1)
    ranks = max(1, gpus // shared)
    return micro * int(values.get("gradient_accumulation_steps") or 1) * int(values.get("sequence_len") or 1) * ranks


def _count(parameters: int) -> str:
    """`124M`, three digits."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.3g}{letter}"
    return str(parameters)
