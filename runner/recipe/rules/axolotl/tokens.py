"""Rules about chat templates and special tokens."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import TEMPLATES

_FALLBACK = "tokenizer_default_fallback_"


def _places(facts: Facts) -> Iterator[tuple[str, str]]:
    """Every chat template named: where, and which."""
    for pattern in ("chat_template", "datasets.*.chat_template", "test_datasets.*.chat_template"):
        for at, node in facts.all(pattern):
            if isinstance(node.value, str):
                yield at, node.value


@rule("R195", "unknown chat template", source="https://docs.axolotl.ai/docs/dataset-formats/conversation.html")
def unknown_template(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl ships a number of templates by name, takes the tokenizer's own as `tokenizer_default`, that one with a
    reserve as `tokenizer_default_fallback_chatml`, and your own through `chat_template_jinja`.
    """
    for at, name in _places(facts):
        known = name.removeprefix(_FALLBACK)
        # the key of the whole recipe is an enum that lacks this one
        if known in TEMPLATES or (known == "phi_4" and name + at != "phi_4chat_template"):
            continue
        near = nearest_word(known, TEMPLATES)
        close = (_FALLBACK if name.startswith(_FALLBACK) else "") + near if near else None
        yield facts.report(
            "R195",
            at,
            f"unknown chat template `{printable(name)}`",
            label=f"did you mean `{close}`?" if close else "",
            help=f"set `chat_template: {close}`" if close else "use `tokenizer_default`, or give `chat_template_jinja`",
        )


@rule(
    "R196",
    "a template of your own that is missing",
    source="https://docs.axolotl.ai/docs/dataset-formats/conversation.html",
)
def missing_jinja(facts: Facts) -> Iterator[Diagnostic]:
    """`chat_template: jinja` says that the template is written out, or its file named, in `chat_template_jinja` beside
    it. Axolotl refuses the one without the other.
    """
    for at, name in _places(facts):
        if name == "jinja" and not facts.has(f"{at}_jinja"):
            yield facts.report(
                "R196",
                at,
                "`chat_template: jinja` needs `chat_template_jinja`",
                help="add `chat_template_jinja`, a template or its file",
            )


@rule(
    "R197",
    "a reward model that can't see the end of an answer",
    source="https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_layers.py",
    severity="warning",
)
def reward_pad_is_eos(facts: Facts) -> Iterator[Diagnostic]:
    """A reward model's score is read at the last token that is not padding. Where padding is the token that ends an
    answer, the end looks like padding and the score is read one token early; servers that read at the very last token
    then return another score than the trained one. In other training Axolotl masks padding by place, not by token, and
    the two may be equal.
    """
    pad, eos = facts.get("special_tokens.pad_token"), facts.get("special_tokens.eos_token")
    if facts.has("reward_model") and pad is not None and pad == eos:
        yield facts.report(
            "R197",
            "special_tokens.pad_token",
            "a reward model's `pad_token` must not be its `eos_token`",
            label="the end of an answer looks like padding",
            help="choose another token that the tokenizer has, such as its `unk_token`",
            severity="warning",
        )
