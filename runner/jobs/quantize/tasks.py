"""lm-evaluation-harness on a model that is loaded already: a score from 0 to 1 for every question of each task."""

from pathlib import Path
from typing import Any

import yaml

from .problem import Problem

# the first of these that a task has is its score
METRICS = ("acc", "exact_match", "em", "f1")
# where tasks that the recipe writes out are put for lm-eval to find
OWN = Path("work/tasks")


def scores(model: Any, tokenizer: Any, config: dict[str, Any]) -> dict[str, tuple[str, dict[str, float]]]:
    """task -> (metric, question -> score). Raises Problem."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    names, own = _named(config["tasks"])
    found = simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=config["batch_size"]),
        tasks=names,
        # the thousands that it knows by name take a while to be listed
        task_manager=TaskManager(include_path=str(OWN) if own else None, include_defaults=len(names) > own),
        limit=config["limit"],
        num_fewshot=config["num_fewshot"],
        apply_chat_template=config["apply_chat_template"],
        log_samples=True,
        bootstrap_iters=0,
        random_seed=config["seed"],
        numpy_random_seed=config["seed"],
        torch_random_seed=config["seed"],
        fewshot_random_seed=config["seed"],
    )
    return {task: _of_task(task, samples) for task, samples in found["samples"].items()}


def _named(wanted: list[Any]) -> tuple[list[str], int]:
    """The tasks' names, and how many of them the recipe writes out: lm-eval takes those only from files."""
    own = [each for each in wanted if isinstance(each, dict)]
    for each in own:
        OWN.mkdir(parents=True, exist_ok=True)
        (OWN / f"{each['task']}.yaml").write_text(yaml.safe_dump(each))
    return [each["task"] if isinstance(each, dict) else each for each in wanted], len(own)


def _of_task(task: str, samples: list[dict[str, Any]]) -> tuple[str, dict[str, float]]:
    metric = next((name for name in METRICS if name in samples[0]), None)
    if metric is None:
        raise Problem(f"the task `{task}` has none of the scores {', '.join(METRICS)}")
    # a task with several filters answers each question once for each: the last is the most lenient
    return metric, {str(each["doc_id"]): float(each[metric]) for each in samples}
