"""What a run directory keeps of what it was made from, so that it can be told and run again without anything else."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner import __version__
from runner.engines import environments_of
from runner.engines.environment import OWN, READY, environment, lock_file
from runner.project import Project, lock_path, shipped
from runner.provenance.contents import content_bytes, content_hash
from runner.provenance.hub import cached_commit, repos_of
from runner.recipe.document import dotted, walk
from runner.recipe.resolve import Recipe
from runner.record import file_hash, local_inputs, read_run, write_files
from runner.render import to_yaml

FOLDER = "provenance"
# the composed recipe as this profile ran it: valid by itself, without parents, profiles and `--set`
RECIPE = "recipe.yaml"
# the files that it was composed from, as they stood
SOURCES = "sources"
# each environment's lock, and what was installed by it
ENVIRONMENTS = "environments"


def snapshot(project: Project, recipe: Recipe, files: dict[str, str], run: Path) -> dict[str, Any]:
    """Write it into the run's `provenance/`, and return what run.json says of it."""
    folder = run / FOLDER
    written = {RECIPE: f"# {recipe.name} as it ran in profile {recipe.profile}\n{to_yaml(recipe.doc.plain())}"}
    for name, file in sources_of(project, recipe):
        written[f"{SOURCES}/{name}"] = file.read_text(encoding="utf-8-sig", errors="replace")
    write_files(folder, written)
    inputs = inputs_of(project, recipe)
    return {
        "identity": identity(project, recipe, files, inputs),
        "files": {name: _sha256(text) for name, text in sorted(files.items())},
        "places": places(project),
        "inputs": inputs,
        "seeds": seeds_of(recipe),
        "lock_sha256": file_hash(lock) if (lock := lock_path(recipe.doc.file)).is_file() else None,
        "environments": [_keep_environment(name, folder / ENVIRONMENTS) for name in environments_of(recipe)],
        "provenance": {
            str(file.relative_to(folder)): file_hash(file) for file in sorted(folder.rglob("*")) if file.is_file()
        },
    }


def sources_of(project: Project, recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """The recipe's own file and those of its parents, by recipe name; each file that set a value of it. Its
    lock too, where it has one."""
    named = {node.span.file for _, node in walk(recipe.doc.root)} | {recipe.doc.file}
    for file in sorted(Path(name) for name in named if not name.startswith("<")):
        if file.is_file():
            yield f"{project.recipe_name(file)}.yaml", file
    if (lock := lock_path(recipe.doc.file)).is_file():
        yield f"{project.recipe_name(Path(recipe.doc.file))}.lock", lock


def inputs_of(project: Project, recipe: Recipe) -> list[dict[str, Any]]:
    """Local files and folders that the recipe reads, by their content; paths of the project as `${project}/...`."""
    return [
        {"path": portable(project, str(path)), "bytes": content_bytes(path), "sha256": content_hash(path)}
        for path in local_inputs(recipe)
    ]


def portable(project: Project, text: str) -> str:
    """Text without this machine's folders: what lies in the project and what ships with us by their names."""
    for name, folder in places(project).items():
        text = text.replace(folder, f"${{{name}}}")
    return text


def places(project: Project) -> dict[str, str]:
    """Folders of this machine that stand in rendered files, inner ones first."""
    return {"data": str(shipped("data")), "project": str(project.root)}


def identity(project: Project, recipe: Recipe, files: dict[str, str], inputs: list[dict[str, Any]]) -> str:
    """Like the run's fingerprint, and the same in another clone and on another day: upstream runs count by their own
    identity, and not by when and where they ran."""
    digest = hashlib.sha256()
    ran = {str(u.run): f"<{u.recipe} {identity_of(u.run)}>" for u in recipe.upstreams if u.run is not None}
    for name in sorted(files):
        text = files[name].replace(f"runner {__version__}", "runner")
        for run, stands_for in ran.items():
            text = text.replace(run, stands_for)
        digest.update(f"{name}\0{portable(project, text)}\0".encode())
    for each in inputs:
        digest.update(f"{each['path']}\0{each['sha256']}\0".encode())
    return digest.hexdigest()


def identity_of(run: Path) -> str:
    """Of a run that is recorded; by its fingerprint where an earlier version recorded it."""
    found = read_run(run)
    return str(found.record.get("identity") or found.fingerprint) if found is not None else ""


def seeds_of(recipe: Recipe) -> dict[str, Any]:
    """Every seed that the recipe sets, by its dotted place; an engine's own default holds for the rest."""
    return dict(sorted(_seeds("", recipe.values)))


def _seeds(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    for key, below in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(below, (dict, list)):
            yield from _seeds(f"{place}{key}.", below)
        elif isinstance(key, str) and (key == "seed" or key.endswith("_seed")):
            yield f"{place}{key}", below


def lineage(recipe: Recipe, at: Path) -> list[dict[str, Any]]:
    """The runs that a recipe stands on, where they are seen from its own run's directory `at`, and the hashes that
    their outputs had when it took them."""
    found = []
    for up in recipe.upstreams:
        run = read_run(up.run) if up.run is not None else None
        outputs = run.record.get("outputs", []) if run is not None else []
        found.append(
            {
                "alias": up.alias,
                "recipe": up.recipe,
                "run": run.id if run is not None else None,
                "path": os.path.relpath(run.path, at) if run is not None else None,
                "identity": identity_of(run.path) if run is not None else None,
                "outputs": {output["name"]: output["sha256"] for output in outputs},
            }
        )
    return found


def hub_of(project: Project, recipe: Recipe) -> list[dict[str, Any]]:
    """What the recipe takes from the hub, and the commits that were read: known for sure once the run is over."""
    return [
        {
            "key": dotted(repo.path),
            "type": repo.type,
            "name": repo.name,
            "revision": repo.wanted,
            "commit": cached_commit(repo.type, repo.name, repo.wanted),
        }
        for repo in repos_of(recipe.doc, project.root)
    ]


def _keep_environment(name: str, folder: Path) -> dict[str, Any]:
    env = environment(name)
    if name == OWN:
        return {"engine": name, "folder": env.path.name, "runner": __version__}
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f"{env.path.name}.txt"
    shutil.copyfile(lock_file(name), lock)
    if (env.path / READY).is_file():
        shutil.copyfile(env.path / READY, folder / f"{env.path.name}.json")
    return {"engine": name, "folder": env.path.name, "lock_sha256": file_hash(lock)}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
