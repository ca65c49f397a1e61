"""Rules about what training starts from: a base model, or an architecture with random weights."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.models import Model
from runner.recipe.kinds import kind_schema
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

# families that look positions up in a table, so that one beyond its end is an error
_TABLE = ("gpt2", "opt", "gpt_neo", "gpt_bigcode")
_LONGER = ("rope_scaling", "rope_parameters", "max_position_embeddings", "n_positions")
# scalings by which positions reach beyond `max_position_embeddings`
_STRETCHED = ("linear", "dynamic", "yarn")
AXOLOTL_SEQUENCE_LEN = 512


@rule("R188", "no model, or two", source="https://docs.axolotl.ai/docs/config-reference.html")
def one_model(facts: Facts) -> Iterator[Diagnostic]:
    """Training starts from the weights of a `base_model` or from random weights in the shape of an `architecture`. The
    runner builds a base model from the latter, so a recipe gives one of the two.
    """
    if "base_model" in kind_schema(facts.kind)["required"]:
        return
    if facts.lacks("base_model") and facts.lacks("architecture"):
        yield facts.report(
            "R188",
            "kind",
            "the recipe names no model",
            help="add `base_model`, or `architecture` to start from random weights",
        )
    elif facts.has("base_model") and facts.has("architecture"):
        yield facts.report(
            "R188",
            "architecture",
            "`architecture` and `base_model` can't be used together",
            label="random weights, or those of a model",
            help="remove one of the two",
        )


@rule("R187", "a model from scratch without a tokenizer", source="https://docs.axolotl.ai/docs/config-reference.html")
def scratch_needs_tokenizer(facts: Facts) -> Iterator[Diagnostic]:
    """A model's tokenizer comes from the place its weights come from, unless `tokenizer_config` names another. An
    `architecture` has no such place.
    """
    if facts.has("architecture") and facts.lacks("tokenizer_config"):
        yield facts.report(
            "R187",
            "architecture",
            "a model from scratch needs `tokenizer_config`",
            label="an architecture brings no tokenizer",
            help="add `tokenizer_config: openai-community/gpt2`, or another model's name",
        )


@rule(
    "R189",
    "sequences longer than the model",
    source="https://docs.axolotl.ai/docs/config-reference.html",
    severity="warning",
)
def sequence_too_long(facts: Facts) -> Iterator[Diagnostic]:
    """A model has learnt positions up to the length it was trained for. With rotary embeddings, training on longer
    sequences runs and starts badly unless their scaling is changed too; families with a table of positions, such as
    GPT-2, stop with an index error at the first longer row.
    """
    model = facts.model
    longest = _positions(model) if model is not None else None
    length = facts.get("sequence_len", AXOLOTL_SEQUENCE_LEN)
    override = facts.get("model_config", {})
    if model is None or longest is None or length <= longest or "sequence_len" in facts.refused:
        return
    if facts.has("use_pose") or any(key in override for key in _LONGER):
        return
    table = model.model_type in _TABLE
    scratch = facts.has("architecture")
    grow = "raise its `max_position_embeddings`" if scratch else "set `rope_parameters` in `model_config`"
    yield facts.report(
        "R189",
        "sequence_len" if facts.get("sequence_len") else "architecture" if scratch else "base_model",
        f"`sequence_len: {length}` is longer than the model's {longest} positions",
        label=f"`{printable(model.model_type)}` has no position beyond them" if table else "",
        help=f"set `sequence_len: {longest}`" + ("" if table else f", or {grow}"),
        severity="error" if table else "warning",
    )


def _positions(model: Model) -> int | None:
    """Those of its table, or as far as its config stretches its rotary embeddings already (transformers:
    modeling_rope_utils.py). `llama3` and `longrope` count in `max_position_embeddings` what they stretch."""
    most = model.max_positions
    scaling = model.config.get("rope_parameters") or model.config.get("rope_scaling")
    if most is None or not isinstance(scaling, dict):
        return most
    factor = scaling.get("factor")
    if scaling.get("rope_type", scaling.get("type")) not in _STRETCHED or not isinstance(factor, (int, float)):
        return most
    before = scaling.get("original_max_position_embeddings")
    return max(most, round((before if isinstance(before, int) else most) * min(factor, 1024)))


@rule(
    "R146",
    "rotary embeddings without their base",
    source="https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py",
)
def rope_needs_theta(facts: Facts) -> Iterator[Diagnostic]:
    """What `model_config` says of rotary embeddings takes the place of all that the model's own config says of them,
    the base `rope_theta` included. Without it transformers 5 stops with a TypeError about None while it builds the
    model. Models with one set of parameters per kind of layer are left alone here.
    """
    for key in ("rope_parameters", "rope_scaling"):
        given = facts.get(f"model_config.{key}")
        flat = isinstance(given, dict) and not any(isinstance(value, dict) for value in given.values())
        if flat and given.get("rope_theta") is None:
            yield facts.report(
                "R146",
                f"model_config.{key}",
                f"`{key}` needs `rope_theta`",
                label="it replaces the model's own as a whole",
                help="add the `rope_theta` of the model's config.json",
            )
