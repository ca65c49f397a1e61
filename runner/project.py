"""Where things are: the project a command works in, and the facts that ship with the runner."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# What a recipe's name may look like: it becomes a path, a make target and part of a shell line.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,3}")
PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """A folder that ships with the runner (`schemas`, `templates`, `data`): beside the package in a checkout,
    inside it when installed from a wheel."""
    inside = PACKAGE / "_shipped" / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with `recipes/`; runs go to its `artifacts/`."""

    root: Path

    @property
    def recipes(self) -> Path:
        return self.root / "recipes"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def recipe_folders(self) -> list[Path]:
        """Where recipes are looked for: the project's own, then, installed from a wheel, those that came with it."""
        inside = PACKAGE / "_shipped" / "recipes"
        return [self.recipes, inside] if inside.is_dir() else [self.recipes]

    def recipe_file(self, name: str) -> Path:
        """The file of a recipe; where there is none yet, its place in the project."""
        places = [folder / f"{name}.yaml" for folder in self.recipe_folders]
        return next((place for place in places if place.is_file()), places[0])

    def recipe_name(self, file: Path) -> str:
        """`phase4/dpo-13b` for a file under `recipes/`; elsewhere its stem, made into a valid name."""
        for folder in self.recipe_folders:
            if file.resolve().is_relative_to(folder.resolve()):
                return str(file.resolve().relative_to(folder.resolve()).with_suffix(""))
        words = re.findall(r"[a-z0-9_-]+", file.stem.lower())
        return ".".join(words).strip("._-")[:120] or "recipe"

    def all_recipes(self) -> list[Path]:
        """Every recipe file by name, hidden ones (an editor's, a notebook's) left out."""
        found: dict[str, Path] = {}
        for folder in self.recipe_folders:
            for file in folder.rglob("*.yaml"):
                if file.is_file() and "/." not in f"/{file.relative_to(folder)}":
                    found.setdefault(str(file.relative_to(folder)), file)
        return [found[name] for name in sorted(found)]


def lock_path(recipe_file: str | Path) -> Path:
    """Where a recipe's lock lies, if it has one: `runner lock` writes it."""
    return Path(recipe_file).with_suffix(".lock")


def valid_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and ".." not in name and len(name) <= 120


def find_project(start: Path | None = None) -> Project:
    """The nearest folder at or above `start` that has `recipes/`, or `start` itself.

    RUNNER_PROJECT overrides the search.
    """
    if chosen := os.environ.get("RUNNER_PROJECT"):
        return Project(Path(chosen).resolve())
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "recipes").is_dir():
            return Project(folder)
    return Project(here)


def cache_dir() -> Path:
    """Where engine environments are kept, shared by every clone of one user."""
    if chosen := os.environ.get("RUNNER_CACHE"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "llm-recipes"
