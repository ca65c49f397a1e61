"""What run.json says of a run before it starts: what it is made from, and in which environments it runs."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from runner import __version__
from runner.engines import environments_of, load_engine
from runner.engines.environment import environment
from runner.provenance.snapshot import lineage
from runner.recipe.resolve import Recipe
from runner.record import FORMAT, file_hash, now


def environment_paths(recipe: Recipe) -> dict[str, str]:
    """RUNNER_ENV is the engine's; another that the run needs is RUNNER_ENV_<NAME>."""
    own, *others = map(environment, environments_of(recipe))
    return {"RUNNER_ENV": str(own.path), **{f"RUNNER_ENV_{e.engine.upper()}": str(e.path) for e in others}}


def start_record(
    recipe: Recipe, fingerprint: str, run: Path, earlier: dict[str, Any] | None = None, *, as_written: bool = True
) -> dict[str, Any]:
    """`earlier` is the record of the run that goes on, None for a fresh one."""
    env = environment(load_engine(recipe.engine).ENVIRONMENT)
    resumes, earlier = earlier is not None, earlier or {}
    return {
        "format": FORMAT,
        "run": run.name,
        "recipe": recipe.name,
        "recipe_sha256": file_hash(Path(recipe.doc.file)),
        "kind": recipe.kind,
        "profile": recipe.profile,
        "title": recipe.title,
        "box": recipe.box.name,
        "fingerprint": fingerprint,
        "as_written": as_written,
        "status": "running",
        "started": earlier.get("started", now()),
        "resumed": [*earlier.get("resumed", []), now()] if resumes else [],
        "seconds": earlier.get("seconds", 0.0),
        "parts": earlier.get("parts", {}),
        "attempts": earlier.get("attempts", []),
        "runner": __version__,
        "engine": {
            "name": recipe.engine,
            "environment": env.path.name,
            "versions": env.versions(),
            **_other_versions(recipe),
        },
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "values": recipe.values,
        "upstream": lineage(recipe, run),
    }


def _other_versions(recipe: Recipe) -> dict[str, Any]:
    others = [environment(name) for name in environments_of(recipe)[1:]]
    return {"others": {e.path.name: e.versions() for e in others}} if others else {}
