"""Rules about attention kernels and about packing samples into one row."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import KERNELS

_ENUMS = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/enums.py"
_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
_SHORT = {"flash": "flash_attention_2", "flex": "flex_attention", "sdp": "sdpa", "flash_attention": "flash_attention_2"}
# the older switches, in the order in which Axolotl takes them
LEGACY = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
_VARLEN = {"flash_attention_2", "flash_attention_3", "flash_attention_4", "flash_attention_torch", "flex_attention"}
_VARLEN |= {"xformers", "sage", "kernels-community/flash-attn2", "kernels-community/flash-attn3"}
_VARLEN |= {"kernels-community/sage-attention"}


def attention_of(facts: Facts) -> str | None:
    """The kernel that Axolotl will take, older switches included; None where the recipe leaves it to transformers."""
    given = facts.get("attn_implementation") or next((k for key, k in LEGACY.items() if facts.has(key)), None)
    if given is None and facts.has("gemma4_hybrid_attn_impl"):
        return "flash_attention_2"
    return str(given).split(":", 1)[0].split("@", 1)[0].strip() if given else None


@rule("R135", "unknown attention kernel", source=_ENUMS)
def unknown_attention(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl knows attention kernels by the names transformers gives them, or by a kernel's place on the hub, which
    has a slash. It refuses short forms such as `flash`.
    """
    name = facts.get("attn_implementation")
    if name is None or name in KERNELS or "/" in name:
        return
    close = _SHORT.get(name) or nearest_word(name, KERNELS)
    yield facts.report(
        "R135",
        "attn_implementation",
        f"unknown attention kernel `{printable(name)}`",
        label=f"did you mean `{close}`?" if close else "",
        note="kernels: " + ", ".join(f"`{k}`" for k in KERNELS),
        help=f"set `attn_implementation: {close or 'flash_attention_2'}`",
    )


@rule("R136", "attention chosen twice", source=_ENUMS)
def attention_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`attn_implementation` took the place of one switch per kernel. Axolotl still maps a switch by itself, and refuses
    one beside the new key even where both say the same.
    """
    if not facts.has("attn_implementation"):
        return
    for key in LEGACY:
        if facts.has(key):
            yield facts.report(
                "R136",
                key,
                f"`{key}` can't stand beside `attn_implementation`",
                help=f"remove `{key}`",
            )


@rule("R140", "sample packing with preference or reward-driven training", source=_VALIDATION)
def packing_with_rl(facts: Facts) -> Iterator[Diagnostic]:
    """Packing joins several samples into one row. Preference losses compare the sums of two whole answers, and
    reinforcement learning generates from a prompt per row; neither can tell the packed samples apart, and Axolotl
    refuses to try.
    """
    for key in ("sample_packing", "eval_sample_packing"):
        applies = facts.has("rl") if key == "sample_packing" else facts.get("rl") == "kto"
        if facts.has(key) and applies:
            yield facts.report(
                "R140",
                key,
                f"`{key}` does not work with `rl: {facts.get('rl')}`",
                label="the loss is of one sample per row",
                help=f"set `{key}: false`",
            )


@rule("R141", "sample packing that lets samples see each other", source=_VALIDATION, severity="warning")
def packing_leaks(facts: Facts) -> Iterator[Diagnostic]:
    """A packed row holds several samples. Kernels for rows of varying length keep them apart, and for `sdpa` and
    `eager` Axolotl builds a mask that does. With no kernel named, or another one, it trains on rows in which later
    samples attend to earlier ones, and only warns.
    """
    kernel = attention_of(facts)
    if "attn_implementation" in facts.refused or facts.has("prepared"):  # whose rows R158 keeps from being packed
        return
    if not facts.has("sample_packing") or facts.has("rl") or kernel in _VARLEN or kernel in ("sdpa", "eager"):
        return
    if facts.has("attn_implementation") and kernel not in KERNELS and "/" not in str(kernel):
        return  # not a kernel at all: R135 says so
    yield facts.report(
        "R141",
        "sample_packing",
        "packed samples would attend to each other",
        label=f"`{printable(kernel)}` does not keep them apart" if kernel else "no attention kernel is named",
        help="set `attn_implementation: flash_attention_2`",
        severity="warning",
    )


@rule("R142", "batch flattening without a kernel for it", source=_VALIDATION)
def flattening(facts: Facts) -> Iterator[Diagnostic]:
    """Flattening lays a batch out as one long row without padding, which only a kernel for rows of varying length can
    compute; and a packed batch has no padding left to save.
    """
    if facts.get("batch_flattening") is not True or "attn_implementation" in facts.refused:
        return
    if attention_of(facts) not in _VARLEN:
        yield facts.report(
            "R142",
            "batch_flattening",
            "`batch_flattening` needs a kernel for rows of varying length",
            help="set `attn_implementation: flash_attention_2`",
        )
    elif facts.has("sample_packing"):
        yield facts.report(
            "R142",
            "batch_flattening",
            "`batch_flattening` does not work with `sample_packing`",
            help="remove `batch_flattening`",
        )
