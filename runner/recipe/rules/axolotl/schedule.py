"""Rules about when things happen: saving, evaluating, warming up, stopping early."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
_CONFIG = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/config/__init__.py"
_BUILDER = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/core/builders/causal.py"
_STRATEGIES = {"save_strategy": ["no", "steps", "epoch", "best"], "eval_strategy": ["no", "steps", "epoch"]}


def has_eval_data(facts: Facts) -> bool:
    return any(bool(facts.get(key)) for key in ("val_set_size", "test_datasets", "prepared"))


def interval(facts: Facts, steps: str, per_epoch: str) -> float:
    """`save_steps` or `eval_steps` as Axolotl works it out, a fraction of the run below 1; 0 where there is none."""
    if times := facts.get(per_epoch):
        fraction = 1.0 / (times * (facts.get("num_epochs") or 1.0))
        if fraction < 1.0:
            return float(fraction)
    return float(facts.get(steps) or 0)


def evaluates(facts: Facts) -> bool:
    """True where the trainer will evaluate on its own schedule."""
    chosen = facts.get("eval_strategy", "no") != "no"
    return has_eval_data(facts) and (chosen or interval(facts, "eval_steps", "evals_per_epoch") > 0)


def _twice(facts: Facts, code: str, steps: str, per_epoch: str) -> Iterator[Diagnostic]:
    if facts.has(steps) and facts.has(per_epoch):
        yield facts.report(
            code,
            steps,
            f"`{steps}` and `{per_epoch}` can't be used together",
            help=f"remove `{steps}` or `{per_epoch}`",
        )


@rule("R175", "saving told twice", source=_VALIDATION)
def saves_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`save_steps` and `saves_per_epoch` both say how often a checkpoint is written. Axolotl refuses them together."""
    yield from _twice(facts, "R175", "save_steps", "saves_per_epoch")


@rule("R176", "evaluating told twice", source=_VALIDATION)
def evals_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`eval_steps` and `evals_per_epoch` both say how often to evaluate. Axolotl refuses them together."""
    yield from _twice(facts, "R176", "eval_steps", "evals_per_epoch")


@rule("R177", "a strategy that contradicts its interval", source=_VALIDATION)
def strategy_and_interval(facts: Facts) -> Iterator[Diagnostic]:
    """An interval in steps goes with the strategy `steps` only, and saving the `best` checkpoint needs a metric that
    says which one that is. Axolotl refuses the rest.
    """
    for strategy, keys in (("save_strategy", ("save_steps",)), ("eval_strategy", ("eval_steps", "evals_per_epoch"))):
        older = strategy == "eval_strategy" and facts.lacks(strategy) and facts.has("evaluation_strategy")
        given = "evaluation_strategy" if older else strategy
        value = facts.get(given)
        if value in (None, "steps") or (value not in _STRATEGIES[strategy] and not older):
            continue
        for key in keys:
            if facts.has(key):
                yield facts.report(
                    "R177",
                    given,
                    f"`{given}: {printable(str(value))}` contradicts `{key}`",
                    help=f"remove `{given}` or `{key}`",
                )
    if facts.get("save_strategy") == "best" and facts.lacks("metric_for_best_model"):
        yield facts.report(
            "R177",
            "save_strategy",
            "`save_strategy: best` needs `metric_for_best_model`",
            help="add `metric_for_best_model: eval_loss`",
        )


@rule("R184", "unknown strategy", source="https://huggingface.co/docs/transformers/main_classes/trainer")
def unknown_strategy(facts: Facts) -> Iterator[Diagnostic]:
    """`save_strategy` and `eval_strategy` take transformers' words. Another one is refused only once the model has been
    loaded.
    """
    for key, known in _STRATEGIES.items():
        value = facts.get(key)
        if value is not None and value not in known:
            close = nearest_word(value, known)
            yield facts.report(
                "R184",
                key,
                f"`{key}` can't be `{printable(value)}`",
                label=f"did you mean `{close}`?" if close else "",
                help="use " + " or ".join(f"`{k}`" for k in known),
            )


@rule("R178", "the best checkpoint would not be kept", source=_BUILDER, severity="warning")
def best_is_ignored(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl passes `load_best_model_at_end` on only in supervised training with evaluation data, where both saving
    and evaluating go by steps and every save falls on an evaluation. Otherwise it is dropped in silence and the last
    weights are what remains.
    """
    if not facts.has("load_best_model_at_end"):
        return
    save, every = interval(facts, "save_steps", "saves_per_epoch"), interval(facts, "eval_steps", "evals_per_epoch")
    if facts.has("rl"):
        why, mend = f"`rl: {facts.get('rl')}` does not read it", "remove it"
    elif not has_eval_data(facts):
        why, mend = "there is no evaluation data", "add `val_set_size` or `test_datasets`"
    elif not save or not every:
        why, mend = "it needs saving and evaluating in steps", "set `save_steps` and `eval_steps`"
    elif save % every:
        why, mend = "not every save falls on an evaluation", "make saves a multiple of evaluations"
    else:
        return
    yield facts.report(
        "R178",
        "load_best_model_at_end",
        "`load_best_model_at_end` is ignored here",
        label=why,
        help=mend,
        severity="warning",
    )


@rule("R179", "evaluating without evaluation data", source=_VALIDATION, severity="warning")
def eval_without_data(facts: Facts) -> Iterator[Diagnostic]:
    """Evaluation runs on a part held back from the training data (`val_set_size`) or on `test_datasets`. With neither,
    Axolotl never evaluates, whatever the schedule says; with `val_set_size: 0` written out it refuses the config.
    """
    if has_eval_data(facts) or facts.has("do_bench_eval") or {"val_set_size", "test_datasets"} & facts.refused:
        return
    if facts.get("eval_strategy") == "no":
        return
    key = next((k for k in ("eval_steps", "eval_strategy", "evals_per_epoch") if facts.has(k)), None)
    if key is None:
        return
    refused = facts.get("val_set_size") == 0 and key != "evals_per_epoch"
    streamed = facts.has("streaming") or facts.has("pretraining_dataset")
    yield facts.report(
        "R179",
        key,
        f"`{key}` needs evaluation data" if refused else f"`{key}` does nothing without evaluation data",
        label="`val_set_size` is 0" if refused else "",
        help="add `test_datasets`" if streamed else f"set `val_set_size: 0.02`, add `test_datasets`, or remove `{key}`",
        severity="error" if refused else "warning",
    )


@rule("R183", "an evaluation schedule that never comes round", source=_CONFIG, severity="warning")
def eval_never(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl turns `evals_per_epoch` into a fraction of the run and drops it where the fraction is the whole run or
    more, so as not to evaluate at every step. One evaluation in a run of one epoch is such a case: there is none.
    """
    times, epochs = facts.get("evals_per_epoch"), facts.get("num_epochs") or 1.0
    if times and times * epochs <= 1 and has_eval_data(facts) and facts.lacks("eval_strategy"):
        yield facts.report(
            "R183",
            "evals_per_epoch",
            f"`evals_per_epoch: {times}` never evaluates in a run of {epochs:g} epoch{'' if epochs == 1 else 's'}",
            label="Axolotl drops an interval as long as the run",
            help="replace it by `eval_strategy: epoch`, or evaluate more often",
            severity="warning",
        )


@rule("R180", "warm-up told twice", source=_VALIDATION)
def warmup_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`warmup_steps` and `warmup_ratio` both say how long the learning rate rises. Axolotl refuses them together."""
    yield from _twice(facts, "R180", "warmup_steps", "warmup_ratio")


@rule(
    "R181",
    "warm-up as long as the run",
    source="https://huggingface.co/docs/transformers/main_classes/trainer",
    severity="warning",
)
def warmup_too_long(facts: Facts) -> Iterator[Diagnostic]:
    """The learning rate climbs during warm-up and follows its schedule after. A warm-up as long as the run ends before
    `learning_rate` is ever reached.
    """
    steps, most, ratio = facts.get("warmup_steps"), facts.get("max_steps"), facts.get("warmup_ratio")
    if steps and most and steps >= most:
        message, help = f"`warmup_steps: {steps}` is as long as the run of {most} steps", "lower `warmup_steps`"
        at = "warmup_steps"
    elif ratio is not None and ratio >= 1:
        message, help = f"`warmup_ratio: {ratio}` is the whole run", "give a fraction of the run, such as 0.03"
        at = "warmup_ratio"
    else:
        return
    yield facts.report("R181", at, message, label="`learning_rate` is never reached", help=help, severity="warning")


@rule("R182", "early stopping without its intervals", source=_VALIDATION)
def early_stopping(facts: Facts) -> Iterator[Diagnostic]:
    """Early stopping compares checkpoints by their evaluation, so Axolotl wants both intervals in steps, written out,
    and every save on an evaluation. `saves_per_epoch` and `evals_per_epoch` do not count here.
    """
    if not facts.has("early_stopping_patience"):
        return
    save, every = facts.get("save_steps"), facts.get("eval_steps")
    if not save or not every:
        message = "`early_stopping_patience` needs `save_steps` and `eval_steps`"
    elif save % every:
        message = f"`early_stopping_patience` needs saves on evaluations, and {save} is no multiple of {every}"
    else:
        return
    fractions = [f"`{key}`" for key in ("saves_per_epoch", "evals_per_epoch") if facts.has(key)]
    place = " in place of " + " and ".join(fractions) if fractions else ""
    yield facts.report(
        "R182",
        "early_stopping_patience",
        message,
        help=f"set `eval_steps`, and `save_steps` to a multiple of it{place}",
    )


@rule("R174", "the batch size told twice", source=_VALIDATION)
def batch_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`batch_size` is the older way to give the product of micro-batch and accumulation. Axolotl refuses it beside
    `gradient_accumulation_steps`.
    """
    yield from _twice(facts, "R174", "batch_size", "gradient_accumulation_steps")
