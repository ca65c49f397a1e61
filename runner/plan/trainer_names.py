"""TrainingArguments' names -> Axolotl's, by which the plan reads a recipe; what is the same in both stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.recipe.resolve import Recipe

ENGINE = "transformers"
# theirs -> (ours, what transformers takes where the key is left out)
_NAMES: dict[str, tuple[str, Any]] = {
    "per_device_train_batch_size": ("micro_batch_size", 8),
    "optim": ("optimizer", "adamw_torch_fused"),
    "num_train_epochs": ("num_epochs", 3.0),
    "lr_scheduler_type": ("lr_scheduler", "linear"),
}
# what Liger's kernels replace where the model has it (transformers, integrations/liger.py)
_LIGER = ("liger_rms_norm", "liger_glu_activation", "liger_rope", "liger_fused_linear_cross_entropy")


def in_axolotls_names(recipe: Recipe) -> Recipe:
    """The recipe as the plan's formulas read it; one of another engine, or that was read already, as it is."""
    if recipe.engine != ENGINE or "micro_batch_size" in recipe.values:
        return recipe
    values = {key: value for key, value in recipe.values.items() if key not in _NAMES and key != "finetune"}
    for theirs, (ours, default) in _NAMES.items():
        values[ours] = recipe.values.get(theirs, default)
    if int(values.get("max_steps") or 0) < 0:
        del values["max_steps"]
    if values.pop("use_liger_kernel", False):
        values |= dict.fromkeys(_LIGER, True)
    values["pad_to_sequence_len"] = fills(recipe)
    values["dataset_num_proc"] = 1  # text is tokenized by the tokenizer's own threads
    values["attn_implementation"] = "sdpa"  # transformers' choice wherever the model has it
    return replace(recipe, values=values)


def fills(recipe: Recipe) -> bool:
    """Whether every row has `sequence_len` tokens: blocks cut from text that is joined end to end, not answers."""
    return recipe.values.get("objective") != "text-to-text"
