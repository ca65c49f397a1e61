"""Rules about merging an adapter into its base."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.adapters import packed_base

_MERGE = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/cli/utils/lora_merge.py"


@rule(
    "R130",
    "merging without an adapter",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/cli/merge_lora.py",
)
def merge_without_adapter(facts: Facts) -> Iterator[Diagnostic]:
    """Merging folds a trained adapter into the weights it was trained over. Training without an adapter changes the
    weights themselves and leaves a whole model; there is nothing to fold, and the merge step would find no adapter.
    """
    if facts.has("merge") and facts.lacks("adapter"):
        yield facts.report(
            "R130",
            "merge",
            "`merge` needs an adapter",
            label="without one, training leaves a whole model already",
            help="remove `merge`, or add `adapter: lora`",
        )


@rule("R131", "merging into packed weights", source=_MERGE)
def merge_into_packed(facts: Facts) -> Iterator[Diagnostic]:
    """GPTQ, AWQ and bitsandbytes checkpoints hold packed integers under other names than the layers have. The merge
    finds no tensor to add the adapter to, or adds it to raw bytes, and writes a checkpoint all the same: the base
    without the adapter, or a broken one. An adapter merges into the 16-bit model that the packed one was made from.
    """
    method = packed_base(facts)
    if method and facts.has("merge") and facts.has("adapter"):
        yield facts.report(
            "R131",
            "merge",
            f"an adapter can't be merged into a base quantized with {method}",
            label="its weights are packed integers",
            help="remove `merge` and serve the adapter beside its base, or train over the 16-bit model",
        )


@rule("R132", "an initialization that the merge does not know", source=_MERGE)
def merge_special_init(facts: Facts) -> Iterator[Diagnostic]:
    """PiSSA, OLoRA, CorDA and their like move part of the base weight into the adapter at the start, so that the base
    of the merge is no longer the published one. Axolotl's default merge, one shard at a time, refuses such an adapter
    after the training; the legacy merge loads the model and lets PEFT do it.
    """
    init = facts.get("peft_init_lora_weights")
    if not isinstance(init, str) or init in ("gaussian", "loftq") or not facts.has("adapter"):
        return
    if facts.has("merge") and facts.get("merge_method") != "legacy":
        yield facts.report(
            "R132",
            "merge",
            f"the default merge does not know `peft_init_lora_weights: {printable(init)}`",
            help="add `merge_method: legacy`",
        )
