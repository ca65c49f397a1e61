"""What lm-eval knows: tasks, groups and tags by name (data/lm_eval_tasks.txt), and sets that recipes may name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import yaml

from runner.project import shipped

TASKS = "lm_eval_tasks.txt"
# what a task asks of a model besides text
LIKELIHOODS = frozenset({"multiple_choice", "loglikelihood", "loglikelihood_rolling"})


@dataclass(frozen=True, slots=True)
class Task:
    """`asks`: what it, or the tasks in it, ask of a model; `unsafe` where code is run that the model wrote."""

    asks: frozenset[str]
    unsafe: bool


@cache
def known_tasks() -> dict[str, Task]:
    """Those of the pinned lm-eval, groups and tags too; runner/jobs/lm_eval_tasks.py wrote the list."""
    found = {}
    for line in (shipped("data") / TASKS).read_text().splitlines():
        name, *words = line.split("\t")
        if words:
            found[name] = Task(frozenset(words) - {"group", "tag", "unsafe"}, "unsafe" in words)
    return found


@cache
def task_sets() -> dict[str, tuple[str, ...]]:
    """Name of a set -> lm-eval's names."""
    given = yaml.safe_load((shipped("data") / "evaluation.yaml").read_text())
    return {name: tuple(tasks) for name, tasks in given.items()}


def spelt_out(tasks: Iterable[str]) -> list[str]:
    """Sets replaced by what is in them, each name once."""
    return list(dict.fromkeys(each for name in tasks for each in task_sets().get(name, (name,))))
