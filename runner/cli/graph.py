"""`runner graph`: the makefile that chains the recipes; the front Makefile includes it."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import click

from runner.engines import jobs_dir, load_engine
from runner.engines.environment import OWN, lock_file
from runner.project import Project, find_project, lock_path, shipped, valid_name
from runner.recipe.compose import PROFILES, in_profile, with_parents
from runner.recipe.document import Document, walk
from runner.recipe.graph import needs_of
from runner.recipe.kinds import engine_of, kind_names, serves
from runner.recipe.load import Refused
from runner.recipe.local_paths import local_paths
from runner.render import template_folder

# what make never takes for done
LOOK = "look-for-documents"
# a prerequisite that make reads as one file; another (with a `:`, say) is left out rather than spoil the graph
_PLAIN = re.compile(r"[\w./+@,#$ -]+")


def makefile(project: Project) -> str:
    """One target per recipe and profile, `artifacts/<recipe>/<profile>/done`, with what it is made from.

    A recipe that can't be read gets a target without prerequisites, so that building it shows what is wrong.
    """
    lines = [
        "# Written by `runner graph` from the recipes; make includes it. Do not edit.",
        f".PHONY: {LOOK}",
        "",
    ]
    names = {project.recipe_name(file): file for file in project.all_recipes()}
    finishing: list[str] = []
    names = {name: file for name, file in names.items() if valid_name(name)}  # make would read others as its own syntax
    for name, file in names.items():
        try:
            read = with_parents(project, file)
            docs = {profile: in_profile(read, profile) for profile in PROFILES}
        except Refused:
            docs = {}
        doc = docs.get("full")
        if doc is not None and _serves(doc):
            lines += _served(name)
            continue
        for profile in PROFILES:
            sources = [_relative(project, file), *_sources(project, doc, profile)]
            # a profile may need other recipes than the recipe does
            needed = [str(node.value) for node in needs_of(docs[profile]).values()] if docs else []
            needs = [f"artifacts/{need}/{profile}/done" for need in needed if valid_name(need)]
            target = f"artifacts/{name}/{profile}/done"
            look = [LOOK] if doc is not None and _reads_folders(project, doc) else []
            lines.append(f"{target}: {' '.join(map(_escape, [*sources, *needs, *look]))}")
            lines.append(f"\t@$(RUNNER) run {name} --profile {profile} $(RUN_FLAGS)")
        finishing.append(name)
    lines += ["", f"RECIPES := {' '.join(finishing)}", ""]
    return "\n".join(lines)


def _serves(doc: Document) -> bool:
    kind = doc.keys.get("kind")
    return kind is not None and kind.value in kind_names() and serves(str(kind.value))


def _served(name: str) -> list[str]:
    """Never finished, so that nothing can be made of it; who asks is told how it is started."""
    told = f'\t@echo "{name} is not run but served: make serve MODEL={name}" >&2; exit 2'
    return [line for profile in PROFILES for line in (f"artifacts/{name}/{profile}/done:", told)]


def _sources(project: Project, doc: Document | None, profile: str) -> list[str]:
    """What else a run is made from: parents, locks, templates, jobs, the facts we ship, and local data.

    Too many do no harm: `runner run` compares what would be rendered, and does nothing where that is the same.
    """
    if doc is None:
        return []
    found = {Path(node.span.file) for _, node in walk(doc.root) if node.span.is_file} - {Path(doc.file)}
    kind = doc.keys.get("kind")
    if kind is not None and kind.value in kind_names():
        engine = engine_of(str(kind.value))
        found |= _files(template_folder(str(kind.value), engine), "**/*.j2") | _files(shipped("templates"), "_*.j2")
        found |= _files(shipped("templates") / "_schedulers", "**/*.j2")
        found |= _files(jobs_dir(), "**/*.py")
        if (name := load_engine(engine).ENVIRONMENT) != OWN:
            found.add(lock_file(name))
    for folder in ("models", "boxes", *(["smoke"] if profile == "smoke" else [])):
        found |= _files(shipped("data") / folder, "**/*")
    found |= set(_local_data(project, doc))
    if (lock := lock_path(doc.file)).is_file():
        found.add(lock)
    shown = (_relative(project, p) for p in sorted(found))
    return [path for path in shown if _PLAIN.fullmatch(path)]


def _reads_folders(project: Project, doc: Document) -> bool:
    """Whether documents come from a folder, in which files come, go and change: `runner run` looks, and does nothing
    where they have not."""
    given = _written_out(project, doc.keys["sources"].plain()) if "sources" in doc.keys else None
    return any(path.is_dir() for path in local_paths({"sources": given}, project.root))


def _local_data(project: Project, doc: Document) -> list[Path]:
    """Its files; a folder's time says little about what lies in it, and make would wait for a name without a rule."""
    values = {key: _written_out(project, node.plain()) for key, node in doc.keys.items()}
    return [path for path in local_paths(values, project.root) if path.is_file()]


def _written_out(project: Project, value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${project}", str(project.root)).replace("${data}", str(shipped("data")))
    if isinstance(value, dict):
        return {key: _written_out(project, below) for key, below in value.items()}
    return [_written_out(project, below) for below in value] if isinstance(value, list) else value


@cache
def _files(folder: Path, pattern: str) -> frozenset[Path]:
    """Most recipes are made from the same ones."""
    return frozenset(path for path in folder.glob(pattern) if path.is_file())


@cache
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
