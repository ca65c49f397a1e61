"""Rules about tasks: which there are, what they run, and how many of their documents are asked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from runner.diagnostics import Diagnostic
from runner.project import shipped
from runner.recipe.lm_eval_tasks import Task, known_tasks, spelt_out, task_sets
from runner.recipe.load import printable
from runner.recipe.local_tasks import find_task, task_files, tasks_in, text_of
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

ALLOWED = "execute_code"
# in a file of tasks: `!function utils.score` runs utils.py beside it
_FUNCTION = re.compile(r"!function\s+[\"']?(?P<module>[\w.]+)\.\w+")


def place(facts: Facts, text: str) -> Path:
    """A path as a recipe writes it."""
    root = facts.root or Path.cwd()
    return root / text.replace("${project}", str(root)).replace("${data}", str(shipped("data")))


def folder_of(facts: Facts) -> Path | None:
    given = facts.get("include_path")
    return place(facts, given) if isinstance(given, str) else None


def named(facts: Facts, key: str = "tasks") -> Iterator[tuple[str, str, Task | None]]:
    """Where, name, and what is known of each task that the recipe asks for, sets spelt out."""
    for at, node in facts.all(f"{key}.*"):
        for name in spelt_out([str(node.value)]):
            file = name.endswith((".yaml", ".yml"))
            yield at, name, find_task(str(place(facts, name)) if file else name, folder_of(facts))


@rule(
    "R940",
    "code that a model wrote, and nobody allowed to run",
    source="https://github.com/openai/human-eval#usage",
)
def unsafe_code(facts: Facts) -> Iterator[Diagnostic]:
    """HumanEval, MBPP and their like run what the model wrote against tests. It may do anything that the user may do.
    A recipe that wants this says so in its header, where a reviewer looks, and even then it runs without a network and
    with files read-only.
    """
    if ALLOWED in facts.get("allow", []) or "allow" in facts.refused:
        return
    told: set[str] = set()
    for at, name, task in named(facts):
        if task is not None and task.unsafe and at not in told:
            told.add(at)
            yield facts.report(
                "R940",
                at,
                f"`{name}` runs code that the model wrote, and the recipe does not allow it",
                note="it would run in a sandbox without a network, with files read-only",
                help=f"remove it, or add `allow: [{ALLOWED}]`",
            )


@rule(
    "R941",
    "a task that lm-eval does not know",
    source="https://github.com/EleutherAI/lm-evaluation-harness/tree/main/lm_eval/tasks",
)
def unknown_task(facts: Facts) -> Iterator[Diagnostic]:
    """Tasks, groups and tags are those of the pinned lm-eval, of the folder `include_path`, or in a file of their own;
    sets are those of data/evaluation.yaml. lm-eval would say so too, but only once the model has been loaded or served.
    """
    folder = folder_of(facts)
    known = folder is None or os.path.isdir(folder)  # noqa: PTH112 - Path's raises on odd names
    if not known and "${needs." not in str(facts.get("include_path")):
        yield facts.report(
            "R941",
            "include_path",
            f"no such folder: `{printable(str(facts.get('include_path')), 80)}`",
            note="a path is relative to the project, or absolute",
            help="name a folder with files of tasks",
        )
        return
    for at, name, task in named(facts):
        if task is not None or "*" in name:  # lm-eval takes patterns
            continue
        file = name.endswith((".yaml", ".yml"))
        own = list(tasks_in(folder)) if folder is not None else []
        close = None if file else nearest_word(name, [*task_sets(), *own]) or nearest_word(name, _alike(name))
        yield facts.report(
            "R941",
            at,
            f"no such file: `{printable(name, 80)}`" if file else f"lm-eval has no task `{printable(name, 80)}`",
            label=f"did you mean `{close}`?" if close else "",
            note=""
            if file
            else f"{len(known_tasks()):,} tasks, groups and tags are known, and the sets "
            + ", ".join(f"`{each}`" for each in task_sets()),
            help=f"write `{close}`"
            if close
            else "see `lm_eval ls tasks`, or give `include_path` for tasks of your own",
        )


def _alike(name: str) -> list[str]:
    """Few enough to compare letter by letter: those that begin alike and are of like length."""
    start = name[:2].lower()
    return [each for each in known_tasks() if each[:2].lower() == start and abs(len(each) - len(name)) <= 3]


@rule(
    "R945",
    "scores of a part of the documents",
    source="https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/interface.md",
    severity="warning",
)
def limited(facts: Facts) -> Iterator[Diagnostic]:
    """`limit` takes the first documents of each task, which are often of one subject or of one difficulty. Its scores
    are for trying a recipe, and compare with nobody's. A recipe for a machine without GPUs is taken for a trial.
    """
    if facts.has("limit") and facts.box.gpus:
        yield facts.report(
            "R945",
            "limit",
            "with `limit` the scores are not comparable with others",
            note="the first documents of a task are no sample of it",
            help="remove `limit`, or put it under `profiles: {smoke: ...}`",
            severity="warning",
        )


@rule(
    "R844",
    "a task's Python that nobody allowed",
    source="https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/task_guide.md",
)
def functions(facts: Facts) -> Iterator[Diagnostic]:
    """A task of your own may have `!function utils.score`, which runs the Python file beside it with everything the
    user running the recipe can reach. The recipe names that file under `allow` in its header, where a reviewer looks.
    lm-eval imports what is in all files of `include_path`, whether their tasks are asked or not.
    """
    if "allow" in facts.refused:
        return
    root = facts.root or Path.cwd()
    allowed = {str(place(facts, str(name))) for name in facts.get("allow", [])}
    for at, file in _task_files(facts):
        for module in _modules(file):
            code = file.parent / (module.replace(".", "/") + ".py")
            if str(code) not in allowed:
                shown = printable(str(code.relative_to(root) if code.is_relative_to(root) else code), 80)
                yield facts.report(
                    "R844",
                    at,
                    f"`{printable(file.name, 60)}` runs `{shown}`, and the recipe does not allow it",
                    label="read that code first",
                    help=f"add `allow: [{shown}]`",
                )
                return


def _task_files(facts: Facts) -> Iterator[tuple[str, Path]]:
    """Files of tasks of the user's own, each with the key that leads there. What comes with the runner is ours."""
    folder = folder_of(facts)
    found = [("include_path", file) for file in task_files(folder)] if folder is not None else []
    given = ((at, str(node.value)) for at, node in facts.all("tasks.*"))
    found += [(at, place(facts, name)) for at, name in given if name.endswith((".yaml", ".yml"))]
    yield from ((at, file) for at, file in found if not file.is_relative_to(shipped("data")))


def _modules(file: Path) -> list[str]:
    return [match["module"] for match in _FUNCTION.finditer(text_of(file))]
