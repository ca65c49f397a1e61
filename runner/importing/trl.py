"""A TRL or alignment-handbook config -> a recipe: which trainer it is for, its data, template and adapter."""

from __future__ import annotations

import re
from pathlib import Path

from runner.importing import trainer
from runner.importing.tables import by_table, table
from runner.importing.trainer import DEFAULTS, defaults, finished, shared
from runner.importing.trl_data import SPECIAL as OF_DATA
from runner.importing.trl_data import datasets
from runner.importing.types import Draft, Imported, Source
from runner.recipe.kinds import kind_schema

NAME = "trl"
# of GRPO's: those that Axolotl takes below `trl` under the same name
_GENERATION = {"max_completion_length", "use_vllm", "vllm_mode", "num_generations", "reward_funcs", "reward_weights"}
SPECIAL = (
    trainer.SPECIAL
    | OF_DATA
    | {
        *("use_peft", "lora_target_modules", "bnb_4bit_quant_type", "loss_type", "chat_template", "chat_template_path"),
        *("eos_token", "pad_token", "trainer", "method", "padding_value"),
    }
)
# words by which a config says which trainer it is for, the more telling ones first
_METHODS = (
    ("orpo", "orpo"),
    ("simpo", "simpo"),
    ("kto", "kto"),
    ("grpo", "grpo"),
    ("reward", "reward"),
    ("dpo", "dpo"),
)
# of its trainers; the others take 1e-6
_RATES = {"sft": 2e-5, "reward": 1e-4}


def known() -> set[str]:
    return table(NAME).keys | SPECIAL | _grpo()


def _grpo() -> set[str]:
    return _GENERATION | set(kind_schema("rlhf")["properties"]["trl"]["properties"]) - {"beta", "loss_type"}


def translate(source: Source, root: Path) -> Imported:
    draft = Draft(source)
    method, why = _method(source)
    own = _grpo() if method == "grpo" else set()
    by_table(draft, NAME, SPECIAL | own)
    shared(draft, root)
    _trainer(draft, method, why, own)
    _adapter(draft)
    _attention(draft)
    _template(draft)
    datasets(draft, method)
    rate = {"learning_rate": _RATES.get(method, 1e-6)}
    beta = {"rl_beta": 0.1} if method in ("dpo", "kto", "orpo", "simpo") else {}
    defaults(draft, DEFAULTS | {"sequence_len": 1024, "bf16": True, "gradient_checkpointing": True} | rate | beta)
    return finished(draft, NAME, "TRL", root)


def _method(source: Source) -> tuple[str, str]:
    """TRL's configs leave it to the script which trainer reads them: told by keys, then by words in text and path."""
    keys = source.values
    if keys.keys() & {"num_generations", "reward_funcs"}:
        return "grpo", "it generates, and has rewards for it"
    if keys.keys() & {"desirable_weight", "undesirable_weight"}:
        return "kto", "it weighs labels"
    if "simpo_gamma" in keys or keys.get("loss_type") == "simpo":
        return "simpo", "SimPO's own keys"
    words = "/".join(source.file.parts[-4:]).lower() + "\n" + source.text.lower()
    for word, method in _METHODS:
        if re.search(rf"(?<![a-z]){word}(?![a-z])|{word}(?:trainer|config)", words):
            if method in ("dpo", "orpo", "simpo", "kto", "grpo") or "center_rewards_coefficient" in keys:
                return method, f"`{word}` in its text or path"
            if re.search(r"reward[-_ ]?(?:model|trainer|config)|/rm/|/reward/", words):
                return method, f"`{word}` in its text or path"
    return ("dpo", "`beta`") if "beta" in keys else ("sft", "nothing in it says otherwise")


def _trainer(draft: Draft, method: str, why: str, own: set[str]) -> None:
    for key in ("trainer", "method"):
        if key in draft.source.values:
            draft.drop(key, f"taken for {method}: {why}")
    if method == "reward":
        draft.values |= {"reward_model": True, "model_type": "AutoModelForSequenceClassification", "num_labels": 1}
    elif method != "sft":
        draft.values["rl"] = method
        draft.put("(trainer)", {"rl": method}, why)
    if method == "kto":
        draft.values["remove_unused_columns"] = False
    if method == "grpo":
        trl = {
            key: draft.source.values[key] for key in draft.source.values if key in own and draft.get(key) is not None
        }
        if "rl_beta" in draft.values:
            trl["beta"] = draft.values.pop("rl_beta")
        functions = trl.get("reward_funcs")
        if isinstance(functions, str):
            trl["reward_funcs"] = [functions]
        draft.put(", ".join(trl) or "(trainer)", {"trl": trl}, "Axolotl has them below `trl`")
    _loss(draft, method)


def _loss(draft: Draft, method: str) -> None:
    loss = draft.get("loss_type")
    if loss is None:
        return
    if method == "dpo":
        draft.put("loss_type", {"dpo_loss_type": loss if isinstance(loss, list) else [loss]})
    elif method == "grpo":
        draft.values["trl"]["loss_type"] = loss
        draft.put("loss_type", {"trl.loss_type": loss})
        draft.values.pop("trl.loss_type")
    elif method == "simpo" or loss == "nll" or (method == "kto" and loss == "kto"):
        draft.drop("loss_type", "follows from the trainer")
    else:
        draft.by_hand("loss_type", "Axolotl has this choice for DPO and GRPO only")


def _adapter(draft: Draft) -> None:
    uses = bool(draft.get("use_peft")) or ("use_peft" not in draft.source.values and "lora_r" in draft.values)
    if uses:
        adapter = "qlora" if draft.values.get("load_in_4bit") else "lora"
        draft.put("use_peft", {"adapter": adapter})
        draft.values.setdefault("lora_r", 16)
        draft.values.setdefault("lora_alpha", 32)
        draft.values.setdefault("lora_dropout", 0.05)
        target = draft.get("lora_target_modules")
        whole = target in ("all-linear", ["all-linear"]) or target is None
        draft.put("lora_target_modules", {"lora_target_linear": True} if whole else {"lora_target_modules": target})
        return
    if "use_peft" in draft.source.values:
        draft.drop("use_peft", "all weights train where no adapter is named")
    for key in [key for key in draft.values if key.startswith("load_in_")]:
        draft.values.pop(key)


def _attention(draft: Draft) -> None:
    kernel = draft.values.get("attn_implementation")
    if isinstance(kernel, str) and "/" in kernel:
        draft.values.pop("attn_implementation")
        draft.by_hand("attn_implementation", "a kernel from the hub; Axolotl knows kernels by name")
    quant = draft.get("bnb_4bit_quant_type")
    if quant == "nf4" or ("bnb_4bit_quant_type" in draft.source.values and quant is None):
        draft.drop("bnb_4bit_quant_type", "Axolotl's own setting")
    elif quant is not None:
        draft.put("bnb_4bit_quant_type", {"bnb_config_kwargs": {"bnb_4bit_quant_type": quant}})


def _template(draft: Draft) -> None:
    template = draft.get("chat_template")
    if isinstance(template, str) and "{" in template:
        draft.put("chat_template", {"chat_template": "jinja", "chat_template_jinja": template})
    elif template is not None:
        draft.values["chat_template"] = "tokenizer_default"
        draft.by_hand("chat_template", "this is no template's text; the model's own is taken")
    if draft.get("chat_template_path") is not None:
        draft.by_hand("chat_template_path", "give the template's text as `chat_template_jinja`")
    special = {key: draft.get(key) for key in ("eos_token", "pad_token") if draft.get(key) is not None}
    for key in special:
        draft.put(key, {"special_tokens": special})
    if "padding_value" in draft.source.values:
        draft.drop("padding_value", "Axolotl pads with the tokenizer's token")
