"""Rules about the sizes of an architecture that is trained from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

# what every family counts in whole numbers; a few have a list, one for each layer
_SIZES = (
    "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings", "head_dim", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "num_experts", "num_local_experts", "num_experts_per_tok",
)  # fmt: skip


@rule(
    "R874",
    "a size that is no whole number",
    source="https://huggingface.co/docs/huggingface_hub/package_reference/dataclasses",
)
def sizes(facts: Facts) -> Iterator[Diagnostic]:
    """Layers, heads, experts and widths are counted: a whole number from 1 on, or for some families a list of them, one
    for each layer. Transformers' configs check the types of their fields when the model is made.
    """
    for name in _SIZES:
        at = f"architecture.{name}"
        given = facts.get(at)
        if given is None or all(map(_counts, given if isinstance(given, list) else [given])):
            continue
        yield facts.report(
            "R874",
            at,
            f"`{name}: {printable(str(given), 40)}` is no size",
            label="a whole number from 1 on",
            help=f"write a number, `{name}: 8` for instance; quotes make a text of it",
        )


def _counts(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1 and value == int(value)
