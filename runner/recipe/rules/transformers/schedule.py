"""Rules about steps: when the learning rate rises, when a model is evaluated and saved."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_DOCS = "https://huggingface.co/docs/transformers/main_classes/trainer"
# where a stage's keys stand
_STAGES = ("", "finetune.")


@rule("R720", "a warmup that never ends", source=_DOCS)
def warmup(facts: Facts) -> Iterator[Diagnostic]:
    """Over `warmup_steps` the learning rate rises from nothing; a run that ends before has never trained at its
    learning rate. Below 1 it is a share of all steps.
    """
    for stage in _STAGES:
        steps, wanted = facts.get(f"{stage}max_steps", -1), facts.get(f"{stage}warmup_steps", 0)
        if steps > 0 and wanted >= steps and wanted >= 1:
            yield facts.report(
                "R720",
                f"{stage}warmup_steps",
                f"the learning rate rises over {wanted:g} steps, and the run has {steps}",
                help=f"set `warmup_steps: {max(1, steps // 10)}`",
            )


@rule("R721", "the best model can't be told", source=_DOCS)
def best(facts: Facts) -> Iterator[Diagnostic]:
    """`load_best_model_at_end` goes back to the checkpoint with the best evaluation, so each checkpoint must have one:
    transformers wants evaluations and checkpoints at the same times, and refuses anything else before the first step.
    """
    if not facts.has("load_best_model_at_end"):
        return
    evals, saves = facts.get("eval_strategy", "no"), facts.get("save_strategy", "steps")
    if saves not in (evals, "best") or evals == "no":
        other = evals if evals != "no" else "steps"
        yield facts.report(
            "R721",
            "load_best_model_at_end",
            f"the model is evaluated by `{evals}` and saved by `{saves}`",
            label="each checkpoint needs an evaluation",
            help=f"set `eval_strategy: {other}` and `save_strategy: {other}`",
        )
    elif evals == saves == "steps":
        each, kept = facts.get("eval_steps") or facts.get("logging_steps", 500), facts.get("save_steps", 500)
        if each >= 1 and kept >= 1 and kept % each:
            yield facts.report(
                "R721",
                "save_steps" if facts.has("save_steps") else "load_best_model_at_end",
                f"`save_steps: {kept:g}` is no multiple of `eval_steps: {each:g}`",
                label="each checkpoint needs an evaluation",
                help=f"set `save_steps: {each * max(1, round(kept / each)):g}`",
            )


@rule("R722", "evaluations that never come", source=_DOCS, severity="warning")
def never(facts: Facts) -> Iterator[Diagnostic]:
    """`eval_steps` counts only with `eval_strategy: steps`, and `save_steps` with `save_strategy: steps`; the end of
    training is evaluated and saved in any case.
    """
    if facts.has("eval_steps") and facts.get("eval_strategy", "no") == "no" and "eval_strategy" not in facts.refused:
        yield facts.report(
            "R722",
            "eval_steps",
            "`eval_steps` does nothing without `eval_strategy: steps`",
            help="add `eval_strategy: steps`, or remove `eval_steps`",
            severity="warning",
        )


@rule("R723", "two precisions", source=_DOCS)
def precisions(facts: Facts) -> Iterator[Diagnostic]:
    """Mixed precision is of one sort: with `bf16` and `fp16` together transformers ends at once."""
    if facts.has("bf16") and facts.has("fp16"):
        yield facts.report("R723", "fp16", "`bf16` and `fp16` are both set", help="remove `fp16`")


@rule(
    "R724",
    "a schedule without its floor",
    source="https://huggingface.co/docs/transformers/main_classes/optimizer_schedules",
)
def floor(facts: Facts) -> Iterator[Diagnostic]:
    """`cosine_with_min_lr` must be told where it ends: `min_lr`, a learning rate, or `min_lr_rate`, a share of the
    peak. transformers ends without either when the schedule is made, after the data is tokenized.
    """
    if facts.get("lr_scheduler_type") != "cosine_with_min_lr":
        return
    given = facts.get("lr_scheduler_kwargs") or {}
    if "min_lr" not in given and "min_lr_rate" not in given:
        yield facts.report(
            "R724",
            "lr_scheduler_type",
            "`cosine_with_min_lr` is not told where it ends",
            help="add `lr_scheduler_kwargs: {min_lr_rate: 0.1}`",
        )
