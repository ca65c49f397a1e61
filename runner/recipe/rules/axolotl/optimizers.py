"""Rules about optimizers and learning rate schedules: names, and which of them go with which sharding."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import OPTIMIZERS, SCHEDULES
from runner.recipe.rules.axolotl.sharding import fsdp_version, offloads_optimizer

# what people write for the usual one
_USUAL = {"adam": "adamw_torch", "adamw": "adamw_torch", "adamw_hf": "adamw_torch", "paged_adamw": "paged_adamw_32bit"}
# optimizers that have a counterpart in host memory, see accelerate's map_pytorch_optim_to_deepspeed
_OFFLOADABLE = {"adamw_torch", "adamw_torch_fused", "paged_adamw_32bit", "adagrad", "lion_32bit", "paged_lion_32bit"}
_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"


def whole_parameter(name: str) -> bool:
    """True for optimizers that look at whole parameters, which ZeRO and FSDP1 cut up."""
    return name in ("muon", "polora", "q_galore_adamw8bit") or name.startswith("flash_")


@rule("R107", "an optimizer that can't be sharded so", source=_VALIDATION)
def optimizer_needs_whole_parameters(facts: Facts) -> Iterator[Diagnostic]:
    """Muon, PoLoRA, Q-GaLore and the flash optimizers work on whole matrices. DeepSpeed flattens all parameters into
    one buffer and gives each rank a slice of it, and so does FSDP1; only FSDP2 keeps parameters apart. Axolotl refuses
    the other combinations.
    """
    name = facts.get("optimizer", "")
    if not whole_parameter(name):
        return
    if facts.has("deepspeed"):
        yield facts.report(
            "R107",
            "optimizer",
            f"`optimizer: {name}` does not work with DeepSpeed",
            label="it needs whole parameters",
            help="remove `deepspeed`, shard with `fsdp_version: 2`, or choose `adamw_torch_fused`",
        )
    elif fsdp_version(facts) == 1:
        yield facts.report(
            "R107",
            "optimizer",
            f"`optimizer: {name}` does not work with FSDP1",
            label="it needs whole parameters",
            help="set `fsdp_version: 2`",
        )


@rule(
    "R108",
    "an optimizer that offloading replaces",
    source="https://github.com/huggingface/accelerate/pull/1208",
    severity="warning",
)
def optimizer_replaced_by_offload(facts: Facts) -> Iterator[Diagnostic]:
    """With the optimizer offloaded, accelerate puts DeepSpeed's CPU optimizer in the place of the one asked for. AdamW
    in 32 bits, Adagrad and Lion have a counterpart. Everything else, the paged and 8-bit ones too, becomes Adam with
    weight decay added to the gradient: another algorithm, without a word, and no memory saved by the 8 bits.
    """
    name = facts.get("optimizer", "adamw_torch_fused")
    own = facts.has("deepspeed.optimizer") or facts.get("deepspeed.zero_force_ds_cpu_optimizer") is False
    if not offloads_optimizer(facts) or own or name in _OFFLOADABLE or name not in OPTIMIZERS or whole_parameter(name):
        return
    yield facts.report(
        "R108",
        "optimizer",
        f"`optimizer: {name}` is not what runs when its states are offloaded",
        label="DeepSpeed's CPU Adam takes its place",
        note="offloaded states live in host memory in 32 bits",
        help="set `optimizer: adamw_torch_fused`, which becomes DeepSpeed's CPU AdamW",
        severity="warning",
    )


@rule("R111", "8-bit optimizer with FSDP", source=_VALIDATION)
def eight_bit_with_fsdp(facts: Facts) -> Iterator[Diagnostic]:
    """bitsandbytes updates its 8-bit states with CUDA kernels of its own, which take neither FSDP2's distributed
    tensors nor states that FSDP1 has moved to host memory. torchao's 8-bit AdamW takes FSDP2's.
    """
    name = facts.get("optimizer", "")
    version = fsdp_version(facts)
    if version == 2 and name in ("adamw_8bit", "adamw_bnb_8bit"):
        yield facts.report(
            "R111",
            "optimizer",
            f"`optimizer: {name}` does not work with FSDP2",
            help="set `optimizer: adamw_torch_8bit`",
        )
    elif version == 1 and "8bit" in name and facts.has("fsdp_config.offload_params"):
        yield facts.report(
            "R111",
            "optimizer",
            f"`optimizer: {name}` does not work with FSDP's `offload_params`",
            help="set `fsdp_version: 2` and `optimizer: adamw_torch_8bit`",
        )


@rule("R185", "unknown optimizer", source="https://huggingface.co/docs/transformers/main_classes/trainer")
def unknown_optimizer(facts: Facts) -> Iterator[Diagnostic]:
    """The engine learns that an optimizer's name means nothing only after the model has been loaded and the data
    tokenized. The names are those of transformers' `OptimizerNames` and Axolotl's own.
    """
    name = facts.get("optimizer")
    if name is None or name in OPTIMIZERS:
        return
    close = _USUAL.get(name) or nearest_word(name, OPTIMIZERS)
    yield facts.report(
        "R185",
        "optimizer",
        f"unknown optimizer `{printable(name)}`",
        label=f"did you mean `{close}`?" if close else "",
        help=f"set `optimizer: {close or 'adamw_torch_fused'}`",
    )


@rule("R186", "unknown learning rate schedule", source="https://huggingface.co/docs/transformers/main_classes/trainer")
def unknown_schedule(facts: Facts) -> Iterator[Diagnostic]:
    """The schedules are those of transformers' `SchedulerType` and Axolotl's `one_cycle` and `rex`. Another name is
    refused only after the model has been loaded.
    """
    name = facts.get("lr_scheduler")
    if name is None or name in SCHEDULES:
        return
    close = nearest_word(name, SCHEDULES)
    yield facts.report(
        "R186",
        "lr_scheduler",
        f"unknown learning rate schedule `{printable(name)}`",
        label=f"did you mean `{close}`?" if close else "",
        note="" if close else "schedules: " + ", ".join(f"`{s}`" for s in SCHEDULES),
        help=f"set `lr_scheduler: {close or 'cosine'}`",
    )
