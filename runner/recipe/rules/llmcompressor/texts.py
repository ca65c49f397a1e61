"""Rules about the text that a model is calibrated on, and the text and tasks that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.schemes import SCHEMES, needs_calibration
from runner.recipe.rules import Facts, rule

_DATASETS = "https://docs.vllm.ai/projects/llm-compressor/en/latest/"
_GPTQ = "https://arxiv.org/abs/2210.17323"
_FORMS = ("field", "format", "field_messages")
# what makes two sources one
_SAME = ("path", "name", "split", "data_files")


@rule("R928", "nothing to calibrate on", source=_GPTQ)
def missing(facts: Facts) -> Iterator[Diagnostic]:
    """GPTQ weighs the error of each column by the activations that it meets, AWQ and SmoothQuant scale channels by
    them, and static FP8 has one scale for all activations. Each must see some: a few hundred texts like those to come.
    """
    if not _known(facts) or not facts.lacks("calibration") or not needs_calibration(_values(facts)):
        return
    key = next(k for k in ("method", "smoothing_strength", "scheme") if facts.get(k) is not None)
    ways = "add `calibration: {path: HuggingFaceH4/ultrachat_200k, split: train_sft, field_messages: messages}`"
    if facts.get("scheme") == "FP8":
        ways += ", or set `scheme: FP8_DYNAMIC`, which needs none"
    elif facts.get("smoothing_strength") is None:
        ways += ", or set `method: rtn`, which needs none and loses more"
    yield facts.report("R928", key, f"`{key}: {facts.get(key)}` needs `calibration`", help=ways)


@rule("R929", "calibration that nothing looks at", source=_DATASETS, severity="warning")
def unused(facts: Facts) -> Iterator[Diagnostic]:
    """Weights rounded to the nearest, activations that are scaled as they come, and bitsandbytes need no data: the
    checkpoint is the same with and without.
    """
    if _known(facts) and facts.has("calibration") and not needs_calibration(_values(facts)):
        yield facts.report(
            "R929",
            "calibration",
            f"`calibration` changes nothing for `scheme: {facts.get('scheme')}` as it is",
            help="remove it, or set a `method` that uses it",
            severity="warning",
        )


@rule("R930", "judged by what it was calibrated on", source=_GPTQ)
def same(facts: Facts) -> Iterator[Diagnostic]:
    """A scale that was fitted to a text does well on that text. The gate must ask about another one, or it says that
    nothing is lost.
    """
    one, two = facts.get("calibration"), facts.get("held_out")
    if one and two and all(one.get(key) == two.get(key) for key in _SAME):
        yield facts.report(
            "R930",
            "held_out",
            "`held_out` is the same text as `calibration`",
            help="name another split or another dataset, such as `Salesforce/wikitext`",
        )


@rule("R931", "a text written in two ways", source=_DATASETS)
def forms(facts: Facts) -> Iterator[Diagnostic]:
    """A row's text is one column (`field`), several put together (`format`), or a conversation (`field_messages`)."""
    for key in ("calibration", "held_out"):
        given = [form for form in _FORMS if facts.has(f"{key}.{form}")]
        if len(given) > 1:
            yield facts.report(
                "R931",
                f"{key}.{given[1]}",
                f"`{given[1]}` and `{given[0]}` can't be used together",
                help="remove one of the two",
            )


@rule("R932", "a gate without its questions", source="https://github.com/EleutherAI/lm-evaluation-harness")
def gate(facts: Facts) -> Iterator[Diagnostic]:
    """`gate.task` is the least share of the tasks' accuracy that must be left; without `tasks` nobody asks."""
    if facts.has("gate.task") and facts.lacks("tasks"):
        yield facts.report(
            "R932", "gate.task", "`gate.task` needs `tasks`", help="add `tasks: [arc_easy]`, or remove `gate.task`"
        )


def _known(facts: Facts) -> bool:
    return facts.get("scheme") in SCHEMES and not facts.refused & {"scheme", "method"}


def _values(facts: Facts) -> dict[str, object]:
    return {key: facts.get(key) for key in ("scheme", "method", "smoothing_strength")}
