"""A LLaMA-Factory config -> a recipe: stage and method, template, datasets by its dataset_info.json, precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.importing import trainer
from runner.importing.llama_factory_data import dataset
from runner.importing.tables import by_table, table
from runner.importing.trainer import DEFAULTS, defaults, finished, shared
from runner.importing.types import Draft, Imported, Source
from runner.recipe.load import printable

NAME = "llama-factory"
SPECIAL = trainer.SPECIAL | {
    *("stage", "finetuning_type", "pref_loss", "simpo_gamma", "lora_target", "additional_target", "template"),
    *("quantization_bit", "quantization_type", "quantization_method", "double_quantization", "pure_bf16", "fp8"),
    *("flash_attn", "enable_liger_kernel", "disable_gradient_checkpointing", "use_reentrant_gc"),
    *("dataset", "eval_dataset", "max_samples", "packing", "neat_packing", "streaming", "disable_shuffling"),
    *("add_tokens", "add_special_tokens", "early_stopping_steps"),
}
# not LLaMA-Factory's to be known by, since TRL has them as well
_SHARED = {"model_name_or_path", "trust_remote_code"}
_ATTENTION = {"fa2": "flash_attention_2", "fa3": "flash_attention_3", "sdpa": "sdpa", "disabled": "eager"}
# their template -> Axolotl's name for the same
_TEMPLATES = {
    **{name: name for name in ("alpaca", "gemma", "gemma3", "gemma3n", "llama3", "llama4", "cohere", "falcon_h1")},
    **{"chatml": "chatml", "qwen": "qwen_25", "qwen2": "qwen_25", "qwen3": "qwen3", "mistral": "mistral_v1"},
    **{"gemma2": "gemma", "phi": "phi_3", "phi_small": "phi_3", "deepseek3": "deepseek_v3", "llava": "llava"},
    **{"qwen2_vl": "qwen2_vl", "pixtral": "pixtral", "deepseek": "deepseek_v2"},
}


def known() -> set[str]:
    return table(NAME).keys | SPECIAL


def translate(source: Source, root: Path) -> Imported:
    draft = Draft(source)
    by_table(draft, NAME, SPECIAL)
    shared(draft, root)
    _stage(draft)
    _method(draft)
    _precision(draft)
    _memory(draft)
    _template(draft)
    _data(draft, root)
    defaults(draft, DEFAULTS | {"sequence_len": 2048})
    return finished(draft, NAME, "LLaMA-Factory", root)


def _stage(draft: Draft) -> None:
    stage = draft.get("stage", "sft")
    loss = draft.get("pref_loss", "sigmoid")
    ours: dict[str, Any] = {}
    if stage == "dpo" and loss in ("ipo", "orpo", "simpo"):
        ours = {"rl": loss}
    elif stage == "dpo":
        ours = {"rl": "dpo"} | ({"dpo_loss_type": [loss]} if loss == "hinge" else {})
    elif stage == "kto":
        ours = {"rl": "kto", "remove_unused_columns": False}
    elif stage == "rm":
        ours = {"reward_model": True, "model_type": "AutoModelForSequenceClassification", "num_labels": 1}
    elif stage == "ppo":
        draft.by_hand("stage", "there is no PPO; kind `rlhf` trains by GRPO", "see phase4/rlhf-13b")
    if ours:
        draft.put("stage", ours, f"stage `{stage}`")
    elif stage in ("sft", "pt"):
        draft.drop("stage", "supervised training is what is left when no `rl` is named")
    if loss == "kto_pair":
        draft.by_hand("pref_loss", "Axolotl has no KTO on pairs")
    elif "pref_loss" in draft.source.values:
        draft.put("pref_loss", {k: v for k, v in ours.items() if k != "remove_unused_columns"})
    if "simpo_gamma" in draft.source.values:
        draft.put("simpo_gamma", {"simpo_gamma": draft.get("simpo_gamma")} if ours.get("rl") == "simpo" else {})
    if ours.get("rl"):
        draft.values.setdefault("rl_beta", 0.1)  # what they take where nothing is said


def _method(draft: Draft) -> None:
    method = draft.get("finetuning_type", "lora")
    bits = draft.get("quantization_bit")
    if method == "lora":
        four = bits == 4
        draft.put("finetuning_type", {"adapter": "qlora" if four else "lora"})
        _adapter(draft)
    elif method == "full":
        draft.drop("finetuning_type", "all weights train where no adapter is named")
    else:
        draft.by_hand(
            "finetuning_type", f"Axolotl has no `{printable(str(method))}`; it has LoRA, QLoRA and full training"
        )
    if bits in (4, 8):
        draft.put("quantization_bit", {f"load_in_{bits}bit": True})
    elif bits is not None:
        draft.by_hand("quantization_bit", "Axolotl loads a model in 4 or 8 bits for training")
    if draft.get("quantization_type", "nf4") != "nf4":
        draft.put("quantization_type", {"bnb_config_kwargs": {"bnb_4bit_quant_type": draft.get("quantization_type")}})
    for key in ("quantization_type", "quantization_method", "double_quantization"):
        if key in draft.source.values and "bnb_config_kwargs" not in draft.values:
            draft.drop(key, "Axolotl's own setting: bitsandbytes' NF4, quantized twice")


def _adapter(draft: Draft) -> None:
    rank = draft.values.setdefault("lora_r", 8)
    draft.values.setdefault("lora_alpha", 2 * rank if isinstance(rank, int) else 16)
    draft.values.setdefault("lora_dropout", 0.0)
    target = draft.get("lora_target", "all")
    if target == "all":
        draft.put("lora_target", {"lora_target_linear": True})
    else:
        draft.put("lora_target", {"lora_target_modules": _listed(target)})
    if (more := draft.get("additional_target")) is not None:
        draft.put("additional_target", {"lora_modules_to_save": _listed(more)})


def _listed(value: Any) -> list[str]:
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    return [str(item).strip() for item in items if str(item).strip()]


def _precision(draft: Draft) -> None:
    if draft.get("pure_bf16"):
        draft.put("pure_bf16", {"bf16": True}, "Axolotl holds the weights in bf16 then")
    if draft.get("fp8"):
        draft.put("fp8", {"fp8": True})
    attention = str(draft.get("flash_attn", ""))
    if attention in _ATTENTION:
        draft.put("flash_attn", {"attn_implementation": _ATTENTION[attention]})
    elif attention:
        draft.drop("flash_attn", "the model's own choice")
    if draft.get("enable_liger_kernel"):
        trainer.liger(draft, "enable_liger_kernel")


def _memory(draft: Draft) -> None:
    off = bool(draft.get("disable_gradient_checkpointing"))
    draft.values["gradient_checkpointing"] = not off and draft.get("gradient_checkpointing", True) is not False
    if "disable_gradient_checkpointing" in draft.source.values:
        draft.put("disable_gradient_checkpointing", {"gradient_checkpointing": draft.values["gradient_checkpointing"]})
    reentrant = draft.get("use_reentrant_gc")
    if reentrant is not None:
        draft.put("use_reentrant_gc", {"gradient_checkpointing_kwargs": {"use_reentrant": bool(reentrant)}})
    for key, ours in (("add_tokens", "tokens"), ("early_stopping_steps", "early_stopping_patience")):
        if (value := draft.get(key)) is not None:
            draft.put(key, {ours: _listed(value) if ours == "tokens" else value})
    if (tokens := draft.get("add_special_tokens")) is not None:
        draft.put("add_special_tokens", {"special_tokens": {"additional_special_tokens": _listed(tokens)}})


def _template(draft: Draft) -> None:
    name = str(draft.get("template", ""))
    if draft.get("stage") == "pt":
        if name:
            draft.drop("template", "plain text has no turns")
    elif name in _TEMPLATES:
        draft.put("template", {"chat_template": _TEMPLATES[name]})
    elif name:
        why = f"Axolotl has no `{printable(name)}`; `tokenizer_default` takes what the model comes with"
        draft.values["chat_template"] = "tokenizer_default"
        draft.by_hand("template", why)


def _data(draft: Draft, root: Path) -> None:
    info = _dataset_info(draft, root)
    for key, ours in (("dataset", "datasets"), ("eval_dataset", "test_datasets")):
        if (given := draft.get(key)) is None:
            continue
        rows = [dataset(draft, key, name, info) for name in _listed(given)]
        limit = draft.get("max_samples")
        if isinstance(limit, int) and key == "dataset":
            rows = [{**row, "split": f"{row.get('split', 'train')}[:{limit}]"} for row in rows]
            draft.put("max_samples", {"datasets": rows}, f"the first {limit} rows of each")
        draft.put(key, {ours: rows})
    if "max_samples" in draft.source.values and not isinstance(draft.get("max_samples"), int):
        draft.drop("max_samples", "no limit")
    for key in ("packing", "neat_packing"):
        if key in draft.source.values:
            on = bool(draft.get(key)) or bool(draft.values.get("sample_packing"))
            draft.put(key, {"sample_packing": on}, "rows that are packed do not see each other")
    if draft.get("streaming"):
        draft.put("streaming", {"streaming": True})
    if draft.get("disable_shuffling"):
        draft.put("disable_shuffling", {"shuffle_merged_datasets": False, "curriculum_sampling": True})
    size = draft.values.get("val_set_size")
    if isinstance(size, float) and size >= 1:
        draft.values["val_set_size"] = int(size)


def _dataset_info(draft: Draft, root: Path) -> dict[str, Any]:
    """The list of datasets that lies in `dataset_dir`; empty where it is not here."""
    folder = str(draft.get("dataset_dir", "data"))
    near = draft.source.file.parent
    for place in (near / folder, root / folder, *(above / folder for above in list(near.resolve().parents)[:3])):
        try:
            given = json.loads((place / "dataset_info.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(given, dict):
            return {"": str(place), **given}
    return {}
