"""Prints every task, group and tag that lm-eval knows, a line each: its name and what it asks of a model.

Runs in the environment that holds lm-eval; `make tasks` writes it to data/lm_eval_tasks.txt, by which recipes are
checked without the network and without lm-eval. Between tabs: `name multiple_choice`, `name generate_until unsafe`
where generated code is run, `name group` and the kinds of what is in it; a task written in Python says `python`.
"""

from importlib.metadata import version

from lm_eval.tasks import TaskManager
from lm_eval.utils import load_yaml_config


def main() -> None:
    index = TaskManager()._task_index
    kinds = {}
    for name, entry in index.items():
        if entry["type"] == "task":
            config = load_yaml_config(entry["yaml_path"], mode="simple")
            kinds[name] = (config.get("output_type") or "generate_until", bool(config.get("unsafe_code")))
        elif entry["type"] == "python_task":
            kinds[name] = ("python", False)
    print(f"# lm-eval {version('lm_eval')}; written by `make tasks`")
    for name in sorted(index):
        if name in kinds:
            kind, unsafe = kinds[name]
            print(name, kind, *(["unsafe"] if unsafe else []), sep="\t")
        else:
            below = set(members(name, index, kinds, frozenset()))
            unsafe = any(kinds[task][1] for task in below)
            print(
                name,
                index[name]["type"],
                *sorted({kinds[task][0] for task in below}),
                *(["unsafe"] if unsafe else []),
                sep="\t",
            )


def members(entry, index, kinds, seen):
    """The tasks of a name, of a list, or of a group that is written out inside another."""
    if isinstance(entry, list):
        for each in entry:
            yield from members(each, index, kinds, seen)
    elif isinstance(entry, dict):
        yield from members(entry.get("task"), index, kinds, seen)
    elif entry in kinds:
        yield entry
    elif entry in index and entry not in seen:
        listed = index[entry].get("task")
        if not isinstance(listed, list):
            listed = load_yaml_config(index[entry]["yaml_path"], mode="simple").get("task")
        yield from members(listed, index, kinds, seen | {entry})


if __name__ == "__main__":
    main()
