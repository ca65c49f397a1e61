"""recipes/<name>.lock: what a recipe will run, pinned: commits, data, environments, seeds, box and upstream runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner import __version__
from runner.diagnostics import Diagnostic, Span
from runner.engines import environments_of
from runner.engines.environment import OWN, environment
from runner.project import Project, lock_path
from runner.provenance.hub import Repo, cached_commit, repos_of, with_revisions
from runner.provenance.snapshot import identity, identity_of, inputs_of, portable, seeds_of
from runner.recipe.compose import PROFILES
from runner.recipe.document import Document, Node, dotted
from runner.recipe.load import Refused, load, parse
from runner.recipe.resolve import Recipe
from runner.render import render, to_yaml

FORMAT = 1
# where it is pinned by no key: the engine takes what the hub's cache has
CACHE = "the hub's cache"
# parts that are compared key by key, and how a person calls what stands in them
_PARTS = ("environments", "hub", "local", "upstream", "seeds", "box")
# what `--set` may change in a trial
_SET = ("seeds", "box", "recipe", "identity")

Section = dict[str, Any]


def read_lock(recipe_file: str | Path) -> Document | None:
    """None where the recipe is not locked. Raises Refused (R451) where its lock can't be read."""
    file = lock_path(recipe_file)
    if not file.is_file():
        return None
    help = "`runner lock` writes it anew; it is generated, so that two changes of it are not merged by hand"
    try:
        doc = load(file, file.stem)
    except Refused as refused:
        why = refused.diagnostics[0]
        raise Refused(Diagnostic("R451", f"the lock can't be read: {why.message}", why.span, help=help)) from None
    version = doc.keys.get("lock")
    if version is None or version.value != FORMAT:
        message = f"the lock is not of format {FORMAT}, which this runner writes"
        raise Refused(Diagnostic("R451", message, Span(str(file)), help=help))
    wrong = [key for key in PROFILES if key in doc.keys and not isinstance(doc.keys[key].value, dict)]
    if wrong:
        raise Refused(Diagnostic("R451", f"`{wrong[0]}` of the lock is no mapping", doc.keys[wrong[0]].key, help=help))
    return doc


def write_lock(recipe_file: str | Path, sections: Mapping[str, Section]) -> Path:
    """Sorted throughout, so that a change of one thing changes one line."""
    file = lock_path(recipe_file)
    head = "# Written by `runner lock`; `runner run` keeps to it, `runner lock --check` says whether it still holds.\n"
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_text(head + to_yaml({"lock": FORMAT, **_sorted(dict(sections))}), encoding="utf-8")
    temporary.replace(file)
    return file


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def section_of(project: Project, recipe: Recipe, hub: Mapping[str, tuple[str, str | None]]) -> Section:
    """What a recipe would run now, in the shape of a lock. `hub` has for each place that names a repository the
    revision that the recipe asks for, and its commit."""
    inputs = inputs_of(project, recipe)
    whole = not recipe.missing
    return {
        "runner": __version__,
        "box": recipe.box.name,
        "environments": {
            name: __version__ if name == OWN else environment(name).path.name for name in environments_of(recipe)
        },
        "hub": {
            dotted(repo.path): {
                "type": repo.type,
                "name": repo.name,
                "revision": hub[dotted(repo.path)][0],
                "commit": hub[dotted(repo.path)][1],
                "pinned_by": dotted(repo.pin) if repo.pin is not None else CACHE,
            }
            for repo in repos_of(recipe.doc, project.root)
        },
        "local": {each["path"]: each["sha256"] for each in inputs},
        "upstream": {
            up.alias: {"recipe": up.recipe, "identity": identity_of(up.run) if up.run is not None else None}
            for up in recipe.upstreams
        },
        "seeds": seeds_of(recipe),
        "recipe": _portable(project, recipe.doc.plain()),
        "identity": identity(project, recipe, render(recipe), inputs) if whole else None,
    }


def _portable(project: Project, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _portable(project, below) for key, below in value.items()}
    if isinstance(value, list):
        return [_portable(project, below) for below in value]
    return portable(project, value) if isinstance(value, str) else value


def pinned(doc: Document, lock: Document | None, profile: str, root: Path) -> Document:
    """The recipe with the lock's commits in the keys that hold revisions, for each repository that it still names."""
    hub = lock.find((profile, "hub")) if lock is not None else None
    if hub is None or not isinstance(hub.value, dict):
        return doc
    commits = {key: node.plain() for key, node in hub.value.items() if isinstance(node.value, dict)}
    wanted = {}
    for repo in repos_of(doc, root):
        known = commits.get(dotted(repo.path), {})
        same = (known.get("name"), known.get("revision")) == (repo.name, repo.wanted)
        if repo.pin is not None and same and known.get("commit"):
            wanted[repo.pin] = str(known["commit"])
    return with_revisions(doc, wanted, hub.key)


def locked_commit(lock: Document | None, profile: str, repo: Repo) -> str | None:
    """What the lock has for a repository; None where it has another one in that place, or another revision of it."""
    known = _locked(lock, profile, repo)
    return known.get("commit") if known.get("revision") == repo.wanted else None


def _locked(lock: Document | None, profile: str, repo: Repo) -> dict[str, Any]:
    node = lock.find((profile, "hub", dotted(repo.path))) if lock is not None else None
    known = node.plain() if node is not None else None
    return known if isinstance(known, dict) and known.get("name") == repo.name else {}


def differences(project: Project, recipe: Recipe, lock: Document | None, *, sets: bool = False) -> list[Diagnostic]:
    """How what would run now differs from what is locked (R450): empty where it does not, or nothing is locked.

    `recipe` must be `pinned`. With `sets` it is a trial, which may change the recipe's own keys.
    """
    section = lock.find((recipe.profile,)) if lock is not None else None
    if section is None or lock is None or not isinstance(section.value, dict):
        return []
    hub = {dotted(r.path): _hub_now(lock, recipe.profile, r) for r in repos_of(recipe.doc, project.root)}
    fresh = parse(to_yaml(_sorted(section_of(project, recipe, hub))), "<now>", recipe.name).plain()
    found = [d for d in _compare(recipe, section, fresh) if not (sets and d[0] in _SET)]
    if found and any(part != "identity" for part, _ in found):
        found = [each for each in found if each[0] != "identity"]  # that follows from the others
    return [each for _, each in found]


def _hub_now(lock: Document, profile: str, repo: Repo) -> tuple[str, str | None]:
    """A recipe that is pinned asks for the commit, and was written with the revision that the lock has."""
    known = _locked(lock, profile, repo)
    wanted = known["revision"] if known.get("commit") == repo.wanted else repo.wanted
    return wanted, cached_commit(repo.type, repo.name, repo.wanted)


def _compare(recipe: Recipe, section: Node, now: Section) -> Iterator[tuple[str, Diagnostic]]:
    was = section.plain()
    told: set[str] = set()
    for part in _PARTS:
        for key, (old, new) in _changes(was.get(part), now.get(part)).items():
            told |= {key, *(v["pinned_by"] for v in (old, new) if isinstance(v, dict) and "pinned_by" in v)}
            yield part, _told(recipe, section, (part, *([key] if key else ())), _message(part, key, old, new))
    told |= {*now["seeds"], *(was.get("seeds") or {}), "box"}
    old_keys, new_keys = (_flat("", given.get("recipe") or {}) for given in (was, now))
    for key in sorted(old_keys.keys() | new_keys.keys()):
        if old_keys.get(key) != new_keys.get(key) and key not in told:
            message = _message("recipe", key, old_keys.get(key), new_keys.get(key))
            yield "recipe", _told(recipe, section, ("recipe", *key.split(".")), message)
    if was.get("identity") and now["identity"] and was["identity"] != now["identity"]:
        note = f"it was locked with runner {was.get('runner')}, this is {__version__}"
        message = "other files would run than when it was locked"
        yield "identity", _told(recipe, section, ("identity",), message, note)


def _changes(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """What differs, by key. A commit or an upstream run that is not known on one side can't differ."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return {} if old == new else {"": (old, new)}
    found = {}
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            known = [k for k in before.keys() & after.keys() if before[k] is not None and after[k] is not None]
            if all(before[k] == after[k] for k in known):
                continue
        if before != after:
            found[key] = (before, after)
    return found


def _flat(place: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, below in value.items() for k, v in _flat(f"{place}{key}.", below).items()}
    return {place.rstrip("."): value}


def _message(part: str, key: str, old: Any, new: Any) -> str:
    if part == "environments":
        return f"the `{key}` environment is `{new}`, and `{old}` was locked"
    if part == "hub":
        before, after = (f"`{v['name']}` at `{v['commit'] or v['revision']}`" if v else "nothing" for v in (old, new))
        return f"`{key}` is {after}, and {before} was locked"
    if part == "local":
        words = "is read, and was not when it was locked" if old is None else "is no longer read"
        return f"`{key}` {'has changed since it was locked' if old and new else words}"
    if part == "upstream":
        return f"`{key}` is not the run of `{(old or new)['recipe']}` that was locked"
    if new is None or old is None:
        is_now, was = ("not set" if value is None else _shown(value) for value in (new, old))
        return f"`{key}` is {is_now}, and was {was} when it was locked"
    return f"`{key or part}` is {_shown(new)}, and {_shown(old)} was locked"


def _shown(value: Any) -> str:
    text = to_yaml(value).removesuffix("...\n").strip() if not isinstance(value, (dict, list)) else str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _told(recipe: Recipe, section: Node, path: tuple[str, ...], message: str, note: str = "") -> Diagnostic:
    node = section
    for part in path:
        node = node.child(part) or node
    profile = "" if recipe.profile == "full" else f" --profile {recipe.profile}"
    return Diagnostic(
        "R450",
        message,
        node.key,
        notes=(note,) if note else (),
        help=f"put it back, or lock what is there now: `runner lock {recipe.name}{profile}`",
    )
