"""Rules about parts that are particular about their surroundings: optimizers for adapters, Mistral's own tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.sharding import fsdp_version

_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
# weights beside the two factors of an adapter, and learning rates of their own
_BESIDE = (
    "lora_modules_to_save", "unfrozen_parameters", "peft_use_dora", "peft_trainable_token_indices",
    "lisa_step_interval", "reward_model", "process_reward_model", "relora_steps",
)  # fmt: skip
_RATES = ("loraplus_lr_ratio", "lr_groups", "embedding_lr", "embedding_lr_scale")
_TOKENS = ("added_tokens_overrides", "special_tokens", "tokens", "chat_template", "processor_kwargs")


@rule("R833", "PoLoRA or Q-GaLore over other weights than theirs", source=_VALIDATION)
def optimizer_of_adapters(facts: Facts) -> Iterator[Diagnostic]:
    """PoLoRA updates the two factors of a LoRA adapter and nothing else: other weights that are meant to train would
    not, and learning rates of their own would not be read. Q-GaLore projects the gradients of whole weights, and FSDP2
    has to leave those their shape.
    """
    name = facts.get("optimizer")
    if name == "polora":
        if facts.lacks("adapter"):
            yield facts.report("R833", "optimizer", "`optimizer: polora` needs an adapter", help="add `adapter: lora`")
        if facts.get("tensor_parallel_size", 1) > 1:
            yield facts.report(
                "R833",
                "optimizer",
                "`optimizer: polora` does not work with `tensor_parallel_size`",
                label="it needs whole factors",
                help="choose `adamw_torch_fused`",
            )
        for key in (*_BESIDE, *_RATES):
            if facts.has(key):
                why = "it sets its own learning rates" if key in _RATES else "it trains nothing but the adapter"
                yield facts.report(
                    "R833", key, f"`{key}` does not work with `optimizer: polora`", label=why, help=f"remove `{key}`"
                )
    if name == "q_galore_adamw8bit":
        if facts.has("adapter"):
            yield facts.report(
                "R833",
                "optimizer",
                "`optimizer: q_galore_adamw8bit` does not work with an adapter",
                label="it projects the gradients of whole weights",
                help="remove `adapter` and its keys, or choose `adamw_8bit`",
            )
        if fsdp_version(facts) == 2 and facts.get("fsdp_config.use_orig_params") is not True:
            yield facts.report(
                "R833",
                "optimizer",
                "`optimizer: q_galore_adamw8bit` needs `use_orig_params: true` in `fsdp_config`",
                help="add it",
            )


@rule("R834", "a tokenizer of Mistral's own, changed", source=_VALIDATION)
def mistral_tokenizer(facts: Facts) -> Iterator[Diagnostic]:
    """With `tokenizer_use_mistral_common` text is tokenized by Mistral's library, which has a template and special
    tokens of its own. There is nothing that could be added to it or renamed in it, and Axolotl refuses to.
    """
    if not facts.has("tokenizer_use_mistral_common"):
        return
    for key in _TOKENS:
        if facts.has(key):
            yield facts.report(
                "R834",
                key,
                f"`{key}` does not work with `tokenizer_use_mistral_common`",
                help=f"remove `{key}`, or remove `tokenizer_use_mistral_common`",
            )
