"""Objectives, found by name: `causal-lm` is the module `causal_lm`, whose `load` makes a Task."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .settings import Settings


@dataclass(frozen=True, slots=True)
class Task:
    """What the trainer needs of an objective. `score(trainer)` adds figures after the last evaluation, such as those
    of real generation; a `tokenizer` is saved beside the model in place of a copy of the recipe's."""

    model: Any
    train: Any
    evaluation: Any
    collate: Callable[[Any], dict[str, Any]]
    compute_metrics: Callable[[Any], dict[str, float]] | None = None
    preprocess_logits: Callable[[Any, Any], Any] | None = None
    score: Callable[[Any], dict[str, float]] | None = None
    tokenizer: Any = None


def load(settings: Settings, args: Any) -> Task:
    module = importlib.import_module(f".{settings.objective.replace('-', '_')}", __package__)
    task: Task = module.load(settings, args)
    return task
