"""Rules about gradient checkpointing: recomputing activations instead of keeping them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_AT = "gradient_checkpointing_kwargs.use_reentrant"
_GEMMA4_TYPES = ("gemma4", "gemma4_unified")
_GEMMA4 = re.compile(r"gemma-?4", re.IGNORECASE)
_HELP = "set `gradient_checkpointing_kwargs: {use_reentrant: false}`"


@rule("R116", "reentrant checkpointing where it can't work", source="https://pytorch.org/docs/stable/checkpoint.html")
def reentrant_checkpointing(facts: Facts) -> Iterator[Diagnostic]:
    """Reentrant checkpointing runs a second backward pass inside the first. It sees no gradient where a block's input
    needs none, as below the first unfrozen layer; TRL's distributed preference training of 4-bit models breaks on it;
    and data parallel training that looks for unused parameters sees each one twice. Outside `rl` Axolotl's default is
    the reentrant form.
    """
    explicit = facts.get(_AT)
    if explicit is True and facts.has("unfrozen_parameters"):
        yield facts.report(
            "R116",
            _AT,
            "`use_reentrant: true` does not work with `unfrozen_parameters`",
            label="blocks below the unfrozen ones get no gradient",
            note="huggingface/transformers#21381",
            help=_HELP,
        )
        return
    if not facts.has("gradient_checkpointing") or facts.ranks < 2:
        return
    if explicit is True and facts.has("rl") and facts.adapter == "qlora" and facts.has("load_in_4bit"):
        yield facts.report(
            "R116",
            _AT,
            "`use_reentrant: true` does not work with QLoRA in distributed `rl` training",
            label="broken in TRL",
            help=_HELP,
        )
    elif _reentrant(facts) and facts.has("ddp_find_unused_parameters") and _plain_ddp(facts):
        yield facts.report(
            "R116",
            "ddp_find_unused_parameters",
            "`ddp_find_unused_parameters` does not work with reentrant checkpointing",
            label="PyTorch stops: a variable was marked ready twice",
            note="" if explicit else "Axolotl's checkpointing is reentrant unless the recipe says otherwise",
            help=_HELP + ", or remove `ddp_find_unused_parameters`",
        )


def _reentrant(facts: Facts) -> bool:
    """What Axolotl will do; it fills in its default only where nothing at all is said, and never for Gemma 4, whose
    layers share keys and values (`normalize_config` in axolotl/utils/config)."""
    if (facts.model is not None and facts.model.model_type in _GEMMA4_TYPES) or _GEMMA4.search(
        str(facts.get("base_model"))
    ):
        return False
    if facts.has("gradient_checkpointing_kwargs"):
        return facts.get(_AT) is True
    return not facts.has("rl") and not facts.has("unfrozen_parameters")


def _plain_ddp(facts: Facts) -> bool:
    known = facts.model.model_type if facts.model else ""
    return not (
        facts.has("deepspeed")
        or facts.has("fsdp")
        or facts.has("fsdp_config")
        or facts.has("activation_offloading")
        or known.startswith("gemma4")  # Axolotl corrects this family by itself
    )


@rule(
    "R117",
    "offloading or selecting activations without checkpointing",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py",
)
def needs_checkpointing(facts: Facts) -> Iterator[Diagnostic]:
    """`activation_offloading` and `selective_checkpointing` say what becomes of the activations that gradient
    checkpointing handles. Without it there is nothing for them to act on and Axolotl refuses the config; selecting
    also needs the form that is not reentrant.
    """
    for key in ("activation_offloading", "selective_checkpointing"):
        if facts.has(key) and facts.lacks("gradient_checkpointing"):
            yield facts.report(
                "R117",
                key,
                f"`{key}` needs `gradient_checkpointing`",
                help="set `gradient_checkpointing: true`",
            )
    if facts.has("selective_checkpointing") and facts.get(_AT) is True:
        yield facts.report(
            "R117", _AT, "`selective_checkpointing` does not work with `use_reentrant: true`", help=_HELP
        )
