"""`runner lock`: pin what a recipe will run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runner.cli.common import check_recipe, profile_option
from runner.cli.output import print_diagnostics
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.engines import environments_of
from runner.engines.environment import OWN, environment
from runner.launch.hub import ask_hub
from runner.project import Project, find_project, lock_path
from runner.provenance.hub import COMMIT, Repo, cached_commit, repos_of
from runner.provenance.lock import CACHE, locked_commit, read_lock, section_of, write_lock
from runner.provenance.locked import lock_differences, resolve_pinned
from runner.recipe.compose import PROFILES
from runner.recipe.document import Document, dotted, make_node
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe
from runner.recipe.resolve import Recipe


@click.command()
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
@profile_option
@click.option("--check", "only_check", is_flag=True, help="Write nothing: does each lock, or RECIPE's, still hold?")
@click.option("--update", is_flag=True, help="Ask the hub for the newest commits, where the lock has some already.")
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], profile: str, only_check: bool, update: bool) -> None:
    """Pin commits of models and datasets, local data, environments, seeds, box and upstream runs, in RECIPE.lock.

    `runner run` then runs exactly that, and refuses anything else. Commits come from the lock that is there, from the
    hub's cache on this machine, or from the hub. To unlock a recipe, delete its lock.
    """
    project = find_project()
    if only_check:
        _check(ctx, project, names)
        return
    if not names:
        raise click.UsageError("name a recipe, or give --check")
    for name in names:
        _lock(project, name, profile, update)


def _lock(project: Project, name: str, profile: str, update: bool) -> None:
    file = find_recipe(project, name)
    library = Library(project, profile)
    doc, found = check_recipe(library, file)
    if doc is None or any(d.is_error for d in found):
        raise Refused(*found)
    recipe = resolve_pinned(library, doc, None)
    before = _before(file)
    repos = repos_of(recipe.doc, project.root)
    commits = _commits(recipe, repos, before, update)
    hub = {dotted(r.path): (r.wanted, commits[dotted(r.path)]) for r in repos}
    # once more, with the commits in the keys where the engine will read them
    recipe = resolve_pinned(library, doc, _draft(profile, repos, commits))
    sections = {p: before.keys[p].plain() for p in PROFILES if before is not None and p in before.keys}
    sections[profile] = section_of(project, recipe, hub)
    _tell(write_lock(file, sections), profile, sections[profile])


def _before(file: Path) -> Document | None:
    """What is locked already; a lock that can't be read is written anew, as its diagnostic says."""
    try:
        return read_lock(file)
    except Refused:
        return None


def _draft(profile: str, repos: list[Repo], commits: dict[str, str]) -> Document:
    """As much of a lock as pins commits."""
    hub = {
        dotted(repo.path): {"name": repo.name, "revision": repo.wanted, "commit": commits[dotted(repo.path)]}
        for repo in repos
    }
    return Document("lock", "<lock>", make_node({profile: {"hub": hub}}, Span("<lock>")))


def _commits(recipe: Recipe, repos: list[Repo], before: Document | None, update: bool) -> dict[str, str]:
    """Raises Refused (R452) where nobody knows one."""
    found: dict[str, str] = {}
    unknown: list[Repo] = []
    for repo in repos:
        known = repo.wanted if COMMIT.fullmatch(repo.wanted) else None
        if not update:
            known = known or locked_commit(before, recipe.profile, repo)
            known = known or cached_commit(repo.type, repo.name, repo.wanted)
        if known is None:
            unknown.append(repo)
        else:
            found[dotted(repo.path)] = known
    names = [name for name in environments_of(recipe) if name != OWN]
    refused = []
    for repo, (commit, why) in zip(unknown, ask_hub(environment(names[0]), unknown) if unknown else (), strict=True):
        if commit is None:
            refused.append(_unknown(recipe, repo, why))
        else:
            found[dotted(repo.path)] = commit
    if refused:
        raise Refused(*refused)
    return found


def _unknown(recipe: Recipe, repo: Repo, why: str) -> Diagnostic:
    node = recipe.doc.find(repo.path)
    assert node is not None
    return Diagnostic(
        "R452",
        f"the commit of {repo.type} `{repo.name}` is not known",
        node.span,
        notes=(f"the hub's cache on this machine does not have its `{repo.wanted}`", why),
        help="lock where the hub can be reached, or write the commit into the recipe",
    )


def _check(ctx: click.Context, project: Project, names: tuple[str, ...]) -> None:
    files = [find_recipe(project, name) for name in names] or [
        file for file in project.all_recipes() if lock_path(file).is_file()
    ]
    found: list[Diagnostic] = []
    for file in files:
        found += _check_one(project, file)
    print_diagnostics(found)
    if found:
        ctx.exit(1)
    click.echo(f"{len(files)} {'lock holds' if len(files) == 1 else 'locks hold'}" if files else "no recipe is locked")


def _check_one(project: Project, file: Path) -> list[Diagnostic]:
    try:
        lock = read_lock(file)
    except Refused as refused:
        return refused.diagnostics
    if lock is None:
        help = f"`runner lock {project.recipe_name(file)}` locks it"
        return [Diagnostic("R451", "the recipe is not locked", Span(str(file)), help=help)]
    found: list[Diagnostic] = []
    for profile in (p for p in PROFILES if p in lock.keys):
        library = Library(project, profile)
        doc, wrong = check_recipe(library, file)
        found += [d for d in wrong if d.is_error] or ([] if doc is None else lock_differences(library, doc))
    return found


def _tell(file: Path, profile: str, section: dict[str, Any]) -> None:
    click.echo(f"{shown_path(str(file))} ({profile}): locked")
    for place, each in section["hub"].items():
        by = "" if each["pinned_by"] != CACHE else f", which no key pins: checked against {CACHE}"
        click.echo(f"  {each['type']} {each['name']} at {each['commit'][:12]} ({place}){by}")
    for path, digest in section["local"].items():
        click.echo(f"  {path}, sha256 {digest[:12]}")
    for name, folder in section["environments"].items():
        click.echo(f"  environment {folder if name != OWN else f'the runner {folder}'}")
    for alias, up in section["upstream"].items():
        state = f"identity {up['identity'][:12]}" if up["identity"] else "has not run yet, and is not pinned"
        click.echo(f"  {alias}: {up['recipe']}, {state}")
    seeds = ", ".join(f"{key} {value}" for key, value in section["seeds"].items())
    click.echo(f"  box {section['box']}, {f'seeds: {seeds}' if seeds else 'no seed set: the engine has its own'}")
