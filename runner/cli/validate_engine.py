"""`runner validate --engine`: what engines' own validators say of recipes in which ours found nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.cli.bar import over
from runner.cli.output import counted
from runner.diagnostics import Diagnostic, Span
from runner.engines.environment import environment
from runner.engines.nodes import on_box
from runner.facts.boxes import Box
from runner.launch.validators import VALIDATORS, Answer, Problem, Unanswered, ask, cases_of
from runner.recipe.compose import compose
from runner.recipe.document import Document, parse_path
from runner.recipe.document import Path as KeyPath
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from runner.record import latest
from runner.render import render

_BUG = "no rule of ours says so: this is worth a report"


@dataclass(frozen=True, slots=True)
class Asked:
    """`found` in recipes, `of` how many an engine was asked, and how many there were to ask about."""

    found: list[Diagnostic]
    of: int
    all: int

    def told(self) -> str:
        return f"asked the engines' own validators about {self.of} of {counted(self.all, 'recipe')}"


@dataclass(frozen=True, slots=True)
class _Question:
    file: Path
    recipe: Recipe
    body: Mapping[str, Any]


def ask_engines(library: Library, files: list[Path], sets: tuple[str, ...], box: Box | None = None) -> Asked:
    """`files` are recipes without errors; `box` stands in for their own. A missing environment is told, not built: it
    takes minutes and gigabytes."""
    found: list[Diagnostic] = []
    questions: dict[str, list[_Question]] = {}
    for file in files:
        try:
            for recipe in _opened(library, file, sets):
                recipe = on_box(recipe, box) if box is not None else recipe
                for case in cases_of(recipe, render(recipe)):
                    questions.setdefault(case.validator, []).append(_Question(file, recipe, case.body))
        except Refused as refused:
            found += refused.diagnostics
    answered: set[Path] = set()
    missing: dict[str, list[_Question]] = {}
    for validator, asked in over(list(questions.items()), "asking the engines"):
        env = environment(VALIDATORS[validator])
        if not env.ready:
            missing[env.engine] = missing.get(env.engine, []) + asked
            continue
        try:
            answers = ask(validator, env, [each.body for each in asked])
        except Unanswered as error:
            found.append(_unanswered(env.engine, str(error), asked))
            continue
        answered |= {each.file for each in asked}
        found += (d for each, answer in zip(asked, answers, strict=True) for d in diagnose(each.recipe.doc, answer))
    found += (_no_environment(engine, asked) for engine, asked in missing.items())
    return Asked(found, len(answered), len(files))


def _opened(library: Library, file: Path, sets: tuple[str, ...]) -> list[Recipe]:
    """The recipe, or of a sweep its children."""
    project, profile = library.project, library.profile

    def opened(doc: Document) -> Recipe:
        return resolve(project, doc, profile, lambda r, p: latest(project, r, p), library=library)

    recipe = opened(compose(project, file, profile=profile, sets=sets))
    return [opened(child.doc) for child in recipe.children] or [recipe]


def diagnose(doc: Document, answer: Answer) -> Iterator[Diagnostic]:
    """What was answered of one recipe, each problem at the key that it is about."""
    for problem in answer.problems:
        path = _place(doc, problem.keys)
        shown = f"`{'.'.join(map(str, path))}`" if path else "the recipe"
        span = doc.nearest(path).key if path else _top(doc)
        if problem.dropped:
            yield _dropped(problem, span)
        else:
            yield Diagnostic(
                "R820" if path else "R821",
                f"{problem.by} refuses {shown}: {problem.said}",
                span,
                notes=(_BUG,),
                help=f"change {shown}" if path else "",
            )
    for library in answer.assumed:
        yield Diagnostic(
            "R825",
            f"`{library}` was taken to be installed, and is not here",
            _top(doc),
            notes=("the engine needs it where the recipe runs; the rest of the config was looked at",),
            severity="warning",
        )


def _dropped(problem: Problem, span: Span) -> Diagnostic:
    key = problem.keys[0]
    return Diagnostic(
        "R822",
        f"{problem.by} would drop `{key}` without a word",
        span,
        notes=(_BUG,),
        help=f"remove `{key}`, or name the plugin that reads it in `plugins`",
    )


def _place(doc: Document, keys: tuple[str, ...]) -> KeyPath:
    """The first that the recipe holds, as far down as it does: pydantic puts the names of classes in between."""
    for key in keys:
        path: list[str | int] = []
        node = doc.root
        for part in parse_path(key):
            below = node.child(part)
            if below is not None:
                path.append(part)
                node = below
            elif not path:
                break
        if path:
            return tuple(path)
    return ()


def _top(doc: Document) -> Span:
    return replace(doc.root.span, line=1, column=1, width=1)


def _no_environment(engine: str, questions: list[_Question]) -> Diagnostic:
    asked = sorted({each.recipe.name for each in questions})
    names, more = ", ".join(f"`{name}`" for name in asked[:3]), len(asked) - 3
    return Diagnostic(
        "R823",
        f"the `{engine}` environment is not built, so its validator can't be asked",
        Span(f"<{engine} environment>"),
        notes=(f"it would be asked about {names}" + (f" and {more} more" if more > 0 else ""),),
        help=f"`runner env build {engine}` builds it, once for all clones",
    )


def _unanswered(engine: str, said: str, questions: list[_Question]) -> Diagnostic:
    return Diagnostic(
        "R824",
        f"the validator in the `{engine}` environment gave no answer: {said}",
        Span(f"<{engine} environment>"),
        notes=(f"it was asked about {counted(len({each.file for each in questions}), 'recipe')}",),
        help=f"`runner env remove {engine}` and `runner env build {engine}` make the environment anew",
    )
