"""Models and datasets of the hub that a recipe names, the commits that they stand at, and the keys that pin those."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from runner.diagnostics import Span
from runner.facts.models import catalogue, hub_cache
from runner.recipe.document import Document, Node, Path, make_node, walk
from runner.recipe.kinds import header_keys, kind_schema

MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
# as huggingface_hub's validate_repo_id has it, with an owner: a bare word is more often a mode than a repository
_NAME = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}")
# keys that name a model -> the keys beside them that hold its revision, the first that the kind has
_MODELS = {
    "base_model": ("model_revision",),
    "model": ("revision", "model_revision"),
    "tokenizer": ("tokenizer_revision",),
    "tokenizer_config": (),
    "processor_config": (),
    "peft": (),
}
_DATASETS = {"path": ("revision",), "source": ("revision",), "dataset": ("revision",)}
# Axolotl loads these with `model_revision` too, wherever they come from
_SHARE_REVISION = ("tokenizer_config", "processor_config")


@dataclass(frozen=True, slots=True)
class Repo:
    """One repository, and the place that names it. `wanted` is a branch, tag or commit; `pin` the place of the key
    that holds it, None where the engine has none: then it is what the hub's cache has under that branch."""

    type: str
    name: str
    wanted: str
    path: Path
    pin: Path | None


def repos_of(doc: Document, root: FilePath) -> list[Repo]:
    """Every repository that a composed recipe names. Local files and folders (relative ones below `root`) are none."""
    kind = str(doc.keys["kind"].value)
    found = []
    for path, node in walk(doc.root):
        key = path[-1] if path and isinstance(path[-1], str) else ""
        type, beside = ("model", _MODELS[key]) if key in _MODELS else ("dataset", _DATASETS.get(key))
        name = _repo_name(node.value, type, root)
        if beside is None or name is None or path[0] in header_keys():
            continue
        pin = next((p for p in ((*path[:-1], each) for each in beside) if _takes(kind, p)), None)
        given = doc.find(pin) if pin is not None else None
        wanted = given.value if given is not None and isinstance(given.value, str) else MAIN
        found.append(Repo(type, name, wanted, path, pin))
    return [_not_shared(repo, found) for repo in found]


def _not_shared(repo: Repo, found: list[Repo]) -> Repo:
    """A commit of one repository is none of another's: `model_revision` stays as it is where a tokenizer from elsewhere
    would be looked for at it."""
    other = any(r.path in [(k,) for k in _SHARE_REVISION] and r.name != repo.name for r in found)
    return replace(repo, pin=None) if repo.pin == ("model_revision",) and other else repo


def _repo_name(value: Any, type: str, root: FilePath) -> str | None:
    if not isinstance(value, str):
        return None
    if type == "model" and value in catalogue():
        return catalogue()[value].hub or None
    return value if _NAME.fullmatch(value) and ".." not in value and not (root / value).exists() else None


def _takes(kind: str, path: Path) -> bool:
    """Whether the kind's schema has a key at `path`."""
    nodes: list[Mapping[str, Any]] = [kind_schema(kind)]
    for part in path:
        below: list[Any] = []
        for node in _branches(nodes):
            below.append(node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part))
        nodes = [n for n in below if isinstance(n, Mapping)]
    return bool(nodes)


def _branches(nodes: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for node in nodes:
        yield node
        for key in ("anyOf", "oneOf", "allOf"):
            yield from _branches([n for n in node.get(key, ()) if isinstance(n, Mapping)])


def with_revisions(doc: Document, revisions: Mapping[Path, str], span: Span) -> Document:
    """The recipe with each of these keys set, as if it stood at `span`; what they stand beside must be there."""
    root = doc.root
    for path, commit in revisions.items():
        root = _set(root, path, make_node(commit, span))
    return replace(doc, root=root)


def _set(node: Node, path: Path, new: Node) -> Node:
    if not path:
        return new
    part, *rest = path
    if isinstance(node.value, list) and isinstance(part, int):
        return replace(node, value=[_set(n, tuple(rest), new) if i == part else n for i, n in enumerate(node.value)])
    assert isinstance(node.value, dict)
    assert isinstance(part, str)
    below = node.value.get(part, new)
    return replace(node, value={**node.value, part: _set(below, tuple(rest), new)})


def cached_commit(type: str, name: str, revision: str) -> str | None:
    """The commit that a download of `revision` came to, by the cache of huggingface_hub on this machine (its layout:
    refs/<revision> holds the commit, snapshots/<commit> the files); None where it was not downloaded."""
    if COMMIT.fullmatch(revision):
        return revision
    if revision.startswith("/") or ".." in FilePath(revision).parts:
        return None
    folder = hub_cache() / f"{type}s--{name.replace('/', '--')}"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None
