"""rag.json, which the runner renders from a recipe -> frozen settings; defaults are the schema's, filled in there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .types import Problem


@dataclass(frozen=True, slots=True)
class Config:
    """Mappings are the recipe's own, with the keys and defaults of data/kinds/rag.yaml."""

    name: str
    folder: Path  # the run's directory: where rag.json lies, and the embedded store's data
    cache: Path  # vectors by content hash, shared by all runs of a project
    sources: list[dict[str, Any]]
    chunking: dict[str, Any]
    embedding: dict[str, Any]
    store: dict[str, Any]
    retrieval: dict[str, Any]
    generator: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    framework: str | None = None  # llamaindex or langchain: whose splitter, retriever and prompt are used, to compare


def read_config(file: Path) -> Config:
    """Raises Problem."""
    try:
        given = json.loads(file.read_text())
        folder = file.resolve().parent
        return Config(**{**given, "folder": folder, "cache": _cache(folder, given.get("cache", "cache"))})
    except (OSError, ValueError, TypeError) as error:
        raise Problem(f"{file} can't be read: {error}") from error


def _cache(folder: Path, named: str) -> Path:
    """Below the project's artifacts/, or the folder's own where it was rendered elsewhere."""
    shared = (folder / named).resolve()
    elsewhere = shared.parts[-2:] == (".cache", "rag") and shared.parts[-3:-2] != ("artifacts",)
    return folder / "cache" if elsewhere else shared
