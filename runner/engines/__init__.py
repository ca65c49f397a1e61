"""Engines, found by looking: one module each, obeying the Protocol below."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from runner.recipe.resolve import Recipe


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a run, told to the person who watches: `name`, and a sentence of what it does."""

    name: str
    does: str


class Engine(Protocol):
    """What the runner must know of an engine. Modules obey this; nothing inherits."""

    # the environment that holds it, and the lock of that environment: runner/engines/locks/<name>.txt
    ENVIRONMENT: str

    def jobs(self, recipe: Recipe) -> tuple[str, ...]:
        """Programs of runner/jobs that the run needs; they are copied into it, so that it stands alone."""
        ...

    def steps(self, recipe: Recipe) -> tuple[Step, ...]:
        """What `launch.sh` will do, in order."""
        ...

    def context(self, recipe: Recipe) -> dict[str, Any]:
        """What the templates see, next to what every template sees (`recipe`, `steps`, `environment`)."""
        ...

    def failure(self, log: str) -> str | None:
        """The engine's own last error, from the end of its log; None where it says nothing clear."""
        ...


def load_engine(name: str) -> Engine:
    return cast(Engine, importlib.import_module(f"runner.engines.{name}"))


def environments_of(recipe: Recipe) -> tuple[str, ...]:
    """Names of the environments that a run needs: its engine's own, then those that the engine's `also(recipe)` names,
    where it has one (a server that is started for the run lives in another)."""
    engine = load_engine(recipe.engine)
    also = getattr(engine, "also", None)
    return (engine.ENVIRONMENT, *(also(recipe) if also is not None else ()))


def jobs_dir() -> Path:
    """The programs that run inside engine environments; the core never imports them."""
    return Path(__file__).resolve().parent.parent / "jobs"
