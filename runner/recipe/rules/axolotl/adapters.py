"""Rules about LoRA and QLoRA: what an adapter needs, and what is ignored without one."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import ADAPTER_ONLY
from runner.recipe.rules.axolotl.sharding import fsdp_version

_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
_PEFT_SCHEMA = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/peft.py"
_LOADER = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/loaders/adapter.py"
_TARGETS = ("lora_target_linear", "lora_target_modules", "lora_target_parameters")
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
# the linear layers of a decoder block, which `lora_target_linear` finds by itself
_LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv_proj", "gate_up_proj"}
# quantized checkpoints whose weights can't be trained directly, nor have an adapter folded into them
PACKED = ("gptq", "awq", "bitsandbytes")


def packed_base(facts: Facts) -> str:
    """How the base's weights are packed: `gptq`, `awq`, `bitsandbytes`, or nothing where they aren't known to be."""
    if facts.has("gptq"):
        return "gptq"
    config = facts.model.config.get("quantization_config") if facts.model else None
    method = str(config.get("quant_method", "")) if isinstance(config, dict) else ""
    return method if method in PACKED else ""


@rule("R120", "quantized weights without an adapter", source=_PEFT_SCHEMA)
def quantized_without_adapter(facts: Facts) -> Iterator[Diagnostic]:
    """Weights stored in 4 or 8 bits have no room for the small steps of training: gradients flow through them, not
    into them. They serve as the frozen base under an adapter, which trains in 16 or 32 bits. Axolotl and transformers
    refuse to train them directly.
    """
    if not facts.lacks("adapter"):
        return
    for key, adapter in (("load_in_4bit", "qlora"), ("load_in_8bit", "lora")):
        if facts.has(key):
            yield facts.report(
                "R120",
                key,
                f"`{key}` needs an adapter",
                label="quantized weights can't be trained themselves",
                help=f"add `adapter: {adapter}` with its rank, scale and targets, or remove `{key}`",
            )
            return
    if method := packed_base(facts):
        yield facts.report(
            "R120",
            "gptq" if facts.has("gptq") else "base_model",
            f"a base quantized with {method} needs an adapter",
            label="quantized weights can't be trained themselves",
            help="add `adapter: lora` with `lora_r`, `lora_alpha` and `lora_target_linear`",
        )


@rule("R121", "QLoRA without 4-bit weights", source=_PEFT_SCHEMA)
def qlora_needs_4bit(facts: Facts) -> Iterator[Diagnostic]:
    """`adapter: qlora` means LoRA over a base that bitsandbytes packs into 4 bits while it loads. Axolotl refuses it
    without `load_in_4bit`, with `load_in_8bit`, and over a GPTQ checkpoint, which is packed already.
    """
    if facts.adapter != "qlora":
        return
    for key in ("load_in_8bit", "gptq"):
        if facts.has(key):
            yield facts.report(
                "R121",
                key,
                f"`{key}` does not work with `adapter: qlora`",
                label="qlora packs a 16-bit base into 4 bits itself",
                help="set `adapter: lora`" if key == "gptq" else "replace it by `load_in_4bit: true`",
            )
            return
    if facts.lacks("load_in_4bit"):
        yield facts.report("R121", "adapter", "`adapter: qlora` needs `load_in_4bit`", help="add `load_in_4bit: true`")


@rule(
    "R122",
    "LoRA over weights that are not quantized after all",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/loaders/model.py",
)
def lora_with_4bit(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl packs weights for two pairs only: `qlora` with `load_in_4bit` and `lora` with `load_in_8bit`. With `lora`
    and `load_in_4bit` it loads the base in 16 bits and then, taking it for a quantized one, casts all of it to 32 bits:
    eight times the memory that was meant.
    """
    if facts.adapter == "lora" and facts.has("load_in_4bit"):
        yield facts.report(
            "R122",
            "load_in_4bit",
            "`load_in_4bit` does nothing with `adapter: lora`",
            label="the base would be held in 32 bits",
            help="set `adapter: qlora`",
        )


@rule("R123", "unknown adapter", source=_LOADER)
def unknown_adapter(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl builds `lora` and `qlora` itself; another adapter has to come from a plugin named in `plugins`. Variants
    such as DoRA and rsLoRA are switches of LoRA, not adapters of their own.
    """
    name = facts.adapter
    if name is None or name in ("lora", "qlora") or facts.has("plugins"):
        return
    switch = {"dora": "peft_use_dora", "rslora": "peft_use_rslora"}.get(name.lower())
    close = nearest_word(name, ["lora", "qlora"])
    help = f"set `adapter: {close}`" if close else "use `lora` or `qlora`, or name the adapter's plugin in `plugins`"
    yield facts.report(
        "R123",
        "adapter",
        f"unknown adapter `{printable(name)}`",
        label="" if switch else f"did you mean `{close}`?" if close else "",
        help=f"set `adapter: lora` and `{switch}: true`" if switch else help,
    )


@rule("R124", "an adapter without rank, scale or targets", source=_LOADER)
def adapter_incomplete(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl passes rank, scale and targets to PEFT as they stand and has no defaults for them; with one missing PEFT
    stops after the model has been loaded, with a message about None. An adapter that is loaded from `lora_model_dir`
    brings its own.
    """
    if facts.adapter not in ("lora", "qlora") or facts.has("lora_model_dir") or facts.has("plugins"):
        return
    usual = {"lora_r": "16", "lora_alpha": "32"}
    missing = [f"`{key}`" for key in usual if facts.lacks(key)]
    advice = [f"`{key}: {value}`" for key, value in usual.items() if facts.lacks(key)]
    if all(facts.lacks(key) for key in _TARGETS):
        missing.append("targets")
        advice.append("`lora_target_linear: true`")
    if missing:
        listed = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        yield facts.report(
            "R124",
            "adapter",
            f"`adapter: {facts.adapter}` lacks {listed}",
            label="PEFT has no default for it" if len(missing) == 1 else "PEFT has no defaults for them",
            help="add " + ", ".join(advice),
        )


@rule("R125", "targets given twice", source=_LOADER, severity="warning")
def targets_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`lora_target_linear` collects the names of all linear layers and adds `lora_target_modules` to them. Naming some
    of the linear layers there changes nothing, though it reads as if only those were trained; and a pattern becomes
    one name among others, which matches no layer.
    """
    modules = facts.get("lora_target_modules")
    if not facts.has("lora_target_linear") or not modules:
        return
    if isinstance(modules, str):
        message, label = "a pattern in `lora_target_modules` matches nothing beside `lora_target_linear`", ""
    elif set(modules) <= _LINEAR:
        message = "`lora_target_modules` changes nothing beside `lora_target_linear`"
        label = "all linear layers are targets already"
    else:
        return
    yield facts.report(
        "R125",
        "lora_target_modules",
        message,
        label=label,
        help="remove `lora_target_modules`, or remove `lora_target_linear` to train only those",
        severity="warning",
    )


@rule("R126", "adapter keys without an adapter", source=_LOADER, severity="warning")
def adapter_keys_alone(facts: Facts) -> Iterator[Diagnostic]:
    """Without `adapter` Axolotl trains all weights and never reads the LoRA keys: the run needs many times the memory
    that the recipe seems to ask for, and leaves a whole model instead of an adapter.
    """
    if not facts.lacks("adapter"):
        return
    given = sorted((key for key in ADAPTER_ONLY if facts.has(key)), key=facts.span)
    if given:
        rest = f" and {len(given) - 1} more" if len(given) > 1 else ""
        yield facts.report(
            "R126",
            given[0],
            f"`{given[0]}`{rest} {'are' if rest else 'is'} ignored without `adapter`",
            label="all weights would be trained",
            help="add `adapter: lora`, or remove " + ", ".join(f"`{k}`" for k in given),
            severity="warning",
        )


@rule("R127", "LoRA kernels where they don't work", source="https://docs.axolotl.ai/docs/lora_optims.html")
def lora_kernels(facts: Facts) -> Iterator[Diagnostic]:
    """The fused LoRA kernels rewrite the attention and MLP layers of known models. They have no form for 8-bit weights,
    none for FSDP1's flattened parameters, and refuse models whose code comes from the hub. Where the recipe does not
    mention them, Axolotl enables them only where they work.
    """
    key = next((k for k in _KERNELS if facts.has(k)), None)
    if key is None:
        return
    if facts.adapter == "lora" and facts.has("load_in_8bit"):
        why = "8-bit LoRA"
    elif facts.has("trust_remote_code"):
        why = "`trust_remote_code`"
    elif fsdp_version(facts) == 1 and facts.ranks > 1:
        why = "FSDP1"
    else:
        return
    yield facts.report(
        "R127",
        key,
        f"`{key}` does not work with {why}",
        help="set " + ", ".join(f"`{k}: false`" for k in _KERNELS if facts.has(k)),
    )


@rule("R128", "dropout on target parameters", source=_PEFT_SCHEMA)
def dropout_on_parameters(facts: Facts) -> Iterator[Diagnostic]:
    """`lora_target_parameters` adapts bare tensors, such as the fused experts of a mixture, by adding the update to the
    weight. There is no input to drop parts of at that point, and PEFT refuses any `lora_dropout`.
    """
    if facts.has("lora_target_parameters") and facts.get("lora_dropout", 0) > 0:
        yield facts.report(
            "R128",
            "lora_dropout",
            "`lora_dropout` does not work with `lora_target_parameters`",
            help="set `lora_dropout: 0`",
        )


@rule(
    "R129",
    "new tokens without trained embeddings",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/loaders/utils.py",
)
def new_tokens_need_embeddings(facts: Facts) -> Iterator[Diagnostic]:
    """Tokens added to the vocabulary start with random rows in both embeddings. LoRA leaves embeddings frozen, so the
    rows would stay random; Axolotl refuses new `tokens` with an adapter until `lora_modules_to_save` names them.
    """
    if not facts.has("adapter") or not facts.has("tokens") or "lora_modules_to_save" in facts.refused:
        return
    names = {
        "gpt_neox": ("embed_in", "embed_out"),
        "falcon": ("word_embeddings", "lm_head"),
        "nemotron_h": ("embeddings", "lm_head"),
    }.get(facts.model.model_type if facts.model else "", ("embed_tokens", "lm_head"))
    saved = facts.get("lora_modules_to_save", [])
    if not saved or (facts.model is not None and not set(names) <= set(saved)):
        yield facts.report(
            "R129",
            "tokens",
            "new `tokens` need trained embeddings",
            label="an adapter leaves embeddings frozen",
            help=f"add `lora_modules_to_save: [{', '.join(names)}]`",
        )
