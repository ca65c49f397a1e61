"""`runner graph`: the makefile that chains the recipes; the front Makefile includes it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click

from runner.engines import jobs_dir, load_engine
from runner.engines.environment import OWN, lock_file
from runner.project import Project, find_project, shipped, valid_name
from runner.recipe.compose import PROFILES, compose
from runner.recipe.document import Document, walk
from runner.recipe.graph import needs_of
from runner.recipe.kinds import engine_of, kind_names
from runner.recipe.load import Refused
from runner.render import template_folder

# a prerequisite that make reads as one file; another (with a `:`, say) is left out rather than spoil the graph
_PLAIN = re.compile(r"[\w./+@,#$ -]+")


def makefile(project: Project) -> str:
    """One target per recipe and profile, `artifacts/<recipe>/<profile>/done`, with what it is made from.

    A recipe that can't be read gets a target without prerequisites, so that building it shows what is wrong.
    """
    lines = [
        "# Written by `runner graph` from the recipes; make includes it. Do not edit.",
        "",
    ]
    names = {project.recipe_name(file): file for file in project.all_recipes()}
    names = {name: file for name, file in names.items() if valid_name(name)}  # make would read others as its own syntax
    for name, file in names.items():
        try:
            doc: Document | None = compose(project, file)
        except Refused:
            doc = None
        for profile in PROFILES:
            sources = [_relative(project, file), *_sources(project, doc, profile)]
            needed = [str(node.value) for node in needs_of(doc).values()] if doc else []
            needs = [f"artifacts/{need}/{profile}/done" for need in needed if valid_name(need)]
            target = f"artifacts/{name}/{profile}/done"
            lines.append(f"{target}: {' '.join(map(_escape, [*sources, *needs]))}")
            lines.append(f"\t@$(RUNNER) run {name} --profile {profile} $(RUN_FLAGS)")
    lines += ["", f"RECIPES := {' '.join(names)}", ""]
    return "\n".join(lines)


def _sources(project: Project, doc: Document | None, profile: str) -> list[str]:
    """What else a run is made from: parents, templates, jobs, the engine's lock, the facts we ship, and local data.

    Too many do no harm: `runner run` compares what would be rendered, and does nothing where that is the same.
    """
    if doc is None:
        return []
    found = {Path(node.span.file) for _, node in walk(doc.root) if node.span.is_file} - {Path(doc.file)}
    kind = doc.keys.get("kind")
    if kind is not None and kind.value in kind_names():
        engine = engine_of(str(kind.value))
        found |= set(template_folder(str(kind.value), engine).rglob("*.j2"))
        found |= set(jobs_dir().rglob("*.py"))
        if (name := load_engine(engine).ENVIRONMENT) != OWN:
            found.add(lock_file(name))
    for folder in ("models", "boxes", *(["smoke"] if profile == "smoke" else [])):
        found |= {p for p in (shipped("data") / folder).rglob("*") if p.is_file()}
    found |= set(_local_data(project, doc))
    shown = (_relative(project, p) for p in sorted(found))
    return [path for path in shown if _PLAIN.fullmatch(path)]


def _local_data(project: Project, doc: Document) -> Iterator[Path]:
    for key in ("datasets", "test_datasets", "pretraining_dataset"):
        node = doc.keys.get(key)
        for item in node.value if node is not None and isinstance(node.value, list) else ():
            path = item.child("path")
            if path is not None and isinstance(path.value, str):
                file = project.root / path.value.replace("${project}", str(project.root))
                if os.path.isfile(file):  # noqa: PTH113 - Path's own raises on odd names
                    yield file


def _relative(project: Project, path: Path) -> str:
    return os.path.relpath(path.resolve(), project.root)


def _escape(path: str) -> str:
    return path.replace("$", "$$").replace(" ", "\\ ").replace("#", "\\#")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write here instead of printing.")
def command(out: Path | None) -> None:
    """Write make targets and prerequisites for every recipe."""
    text = makefile(find_project())
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
