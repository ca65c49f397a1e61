"""Rules about judging: a judge that can be asked, about answers that are text."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.lm_eval_tasks import LIKELIHOODS, spelt_out
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.lm_eval.tasks import named

PARTS = ("{question}", "{answer_a}", "{answer_b}")


@rule("R956", "judging that can't be done", source="https://arxiv.org/abs/2306.05685")
def judging(facts: Facts) -> Iterator[Diagnostic]:
    """A judge is served for the run or served already, one of the two, and needs a name. What it is asked about are
    answers that this run logs, so the tasks are among `tasks`; likelihoods of given choices are no answers. A prompt of
    the recipe's own has a place for the question and for both answers.
    """
    if not facts.has("judge"):
        return
    served, endpoint = facts.get("judge.serve") is not None, facts.has("judge.endpoint")
    if served == endpoint:
        what = "is served for the run and asked elsewhere" if served else "is nowhere"
        mend = "remove `serve` or `endpoint`" if served else "add `serve: {model: ...}` or `endpoint:`"
        yield facts.report("R956", "judge", f"the judge {what}", help=mend)
    elif not facts.has("judge.model" if endpoint else "judge.serve.model"):
        where = "judge" if endpoint else "judge.serve"
        yield facts.report("R956", where, "the judge has no `model`", help=f"add `model:` to `{where}`")
    asked = set(spelt_out(map(str, facts.get("tasks", []))))
    for at, name, task in named(facts, "judge.tasks"):
        if name not in asked and "tasks" not in facts.refused:
            yield facts.report(
                "R956",
                at,
                f"`{name}` is not among the tasks, so there are no answers to judge",
                help="add it to `tasks`",
            )
        elif task is not None and task.asks & LIKELIHOODS:
            yield facts.report(
                "R956",
                at,
                f"`{name}` asks for likelihoods, and there is no text to judge",
                help="judge tasks whose answers are generated",
            )
    prompt = facts.get("judge.prompt")
    if isinstance(prompt, str) and (missing := [part for part in PARTS if part not in prompt]):
        yield facts.report(
            "R956",
            "judge.prompt",
            f"the judge would not see {' and '.join(f'`{part}`' for part in missing)}",
            help="put it into `prompt`",
        )
