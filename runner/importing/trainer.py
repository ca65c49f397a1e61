"""What LLaMA-Factory and TRL share: transformers' arguments that need more than another name, and the draft's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.importing.axolotl import headed
from runner.importing.dump import dump
from runner.importing.kind import kind_of, title_of
from runner.importing.types import BY_HAND, Draft, Imported, Row
from runner.importing.zero import from_file, known_stage
from runner.recipe.load import printable

SPECIAL = {"warmup_steps", "max_steps", "report_to", "use_liger_kernel", "deepspeed"}
_LIGER = {
    "liger_rope": True,
    "liger_rms_norm": True,
    "liger_glu_activation": True,
    "liger_fused_linear_cross_entropy": True,
}
_TRACKERS = {"wandb": "use_wandb", "tensorboard": "use_tensorboard", "mlflow": "use_mlflow", "comet_ml": "use_comet"}
_PLUGIN = "axolotl.integrations.liger.LigerPlugin"
# transformers' own, where Axolotl's differ
DEFAULTS = {"micro_batch_size": 8, "num_epochs": 3, "lr_scheduler": "linear", "learning_rate": 5e-5}
# a recipe's order: what it starts from, how, on what, how long, how fast, with what
_GROUPS = (
    ("base_model", "model_revision", "model_type", "num_labels", "reward_model", "trust_remote_code"),
    ("rl", "rl_beta", "adapter", "lora_model_dir", "load_in_4bit", "load_in_8bit"),
    ("lora_r", "lora_alpha", "lora_dropout", "lora_target_linear", "lora_target_modules", "merge"),
    ("chat_template", "chat_template_jinja", "datasets", "test_datasets", "pretraining_dataset", "val_set_size"),
    ("sequence_len", "sample_packing", "micro_batch_size", "gradient_accumulation_steps", "num_epochs", "max_steps"),
    ("learning_rate", "lr_scheduler", "warmup_ratio", "warmup_steps", "optimizer", "weight_decay", "max_grad_norm"),
    ("bf16", "fp16", "tf32", "attn_implementation", "gradient_checkpointing", "gradient_checkpointing_kwargs"),
)


def shared(draft: Draft, root: Path) -> None:
    """The keys in `SPECIAL`."""
    warmup = draft.get("warmup_steps")
    if isinstance(warmup, float) and 0 < warmup < 1:
        draft.put("warmup_steps", {"warmup_ratio": warmup}, "a share of the steps")
    elif warmup is not None:
        draft.put("warmup_steps", {"warmup_steps": int(warmup)} if isinstance(warmup, (int, float)) else {})
    steps = draft.get("max_steps")
    if isinstance(steps, (int, float)) and steps > 0:
        draft.put("max_steps", {"max_steps": int(steps)})
    elif steps is not None:
        draft.drop("max_steps", "no limit")
    if draft.get("use_liger_kernel"):
        liger(draft, "use_liger_kernel")
    elif "use_liger_kernel" in draft.source.values:
        draft.drop("use_liger_kernel", "off")
    _trackers(draft)
    _deepspeed(draft, root)


def _deepspeed(draft: Draft, root: Path) -> None:
    given = draft.get("deepspeed")
    stage = known_stage(given) if isinstance(given, str) else None
    if stage == "":
        draft.drop("deepspeed", "it divides nothing")
    elif stage is not None:
        draft.put("deepspeed", {"deepspeed": stage}, "the runner writes the stage's config itself")
    elif isinstance(given, str):
        found = from_file(given, draft.source.span("deepspeed"), draft.source.file.parent, root)
        if isinstance(found, Diagnostic):
            draft.found.append(found)
        draft.put("deepspeed", {"deepspeed": found if isinstance(found, dict) else given})
    elif isinstance(given, dict):
        draft.put("deepspeed", {"deepspeed": given})


def liger(draft: Draft, key: str) -> None:
    draft.put(key, {"plugins": [_PLUGIN], **_LIGER}, "Axolotl has a key for each kernel")


def _trackers(draft: Draft) -> None:
    given = draft.get("report_to")
    if "report_to" not in draft.source.values:
        return
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    known = {_TRACKERS[str(name)]: True for name in names if str(name) in _TRACKERS}
    others = [printable(str(name)) for name in names if str(name) not in (*_TRACKERS, "none")]
    if known:
        draft.put("report_to", known)
    if others:
        draft.by_hand("report_to", f"Axolotl does not report to {', '.join(others)}")
    if not known and not others:
        draft.drop("report_to", "nothing is reported")


def quiet(draft: Draft) -> None:
    """What says that nothing happens at intervals comes to not giving the interval."""
    for what in ("eval", "save"):
        strategy = draft.values.get(f"{what}_strategy")
        if strategy in (False, "no"):
            draft.values[f"{what}_strategy"] = "no"
            draft.values.pop(f"{what}_steps", None)
        elif strategy in ("steps", "epoch") and strategy == "epoch":
            draft.values.pop(f"{what}_steps", None)
        elif strategy == "steps" and draft.values.get(f"{what}_steps"):
            draft.values.pop(f"{what}_strategy")  # which follows from the interval
    if not any(draft.values.get(key) for key in ("val_set_size", "test_datasets")):
        for key in ("eval_strategy", "eval_steps", "eval_batch_size"):
            if key in draft.values:
                draft.values.pop(key)
                theirs = next((row.theirs for row in draft.rows if row.ours == key), key)
                draft.rows[:] = [row for row in draft.rows if row.ours != key]
                draft.drop(theirs, "nothing is held out to evaluate on")
    if not draft.values.get("gradient_checkpointing"):
        draft.values.pop("gradient_checkpointing_kwargs", None)


def defaults(draft: Draft, theirs: dict[str, Any]) -> None:
    """What their tool takes where nothing is said, and Axolotl takes another value."""
    missing = {key: value for key, value in theirs.items() if key not in draft.values}
    if "max_steps" in draft.values:
        missing.pop("num_epochs", None)
    if missing:
        draft.put("(not given)", missing, "what their tool takes then")


def finished(draft: Draft, tool: str, name: str, root: Path) -> Imported:
    """The recipe's text: a comment with what was left out, the header, the keys in groups."""
    quiet(draft)
    _without_adapter(draft)
    _every_key(draft)
    values = {key: value for key, value in draft.values.items() if value is not None}
    kind, why = kind_of(values, root)
    rows = [Row("(kind)", kind, why), *draft.source.rows, *draft.rows]
    text = headed(kind, title_of(kind, values), _grouped(values))
    left = [row for row in draft.rows if row.ours in ("", BY_HAND) and row.why not in ("not set", "off")]
    told = "".join(f"#   {printable(row.theirs)}: {printable(row.why, 100)}\n" for row in left)
    head = f"# From {name}'s {printable(draft.source.file.name)}." + (" Left out:\n" + told if told else "\n")
    return Imported(tool, kind, head + text, tuple(rows), (*draft.source.found, *draft.found))


def _without_adapter(draft: Draft) -> None:
    if "adapter" in draft.values:
        return
    for key in [key for key in draft.values if key.startswith(("lora_", "peft_", "loraplus_"))]:
        draft.values.pop(key)
        theirs = next((row.theirs for row in draft.rows if row.ours == key), None)
        draft.rows[:] = [row for row in draft.rows if row.ours != key]
        if theirs is not None:
            draft.drop(theirs, "no adapter is trained")


def _every_key(draft: Draft) -> None:
    """What nothing was made of yet has its line too."""
    told = {part.strip() for row in draft.rows for part in row.theirs.split(",")}
    for key, value in draft.source.values.items():
        if key not in told:
            why = "not set" if value is None else "off" if value in (False, 0) else "says nothing more here"
            draft.drop(key, why)


def _grouped(values: dict[str, Any]) -> str:
    named = {key for group in _GROUPS for key in group}
    groups = [*_GROUPS, tuple(key for key in values if key not in named)]
    texts = [dump({key: values[key] for key in group if key in values}) for group in groups]
    return "\n".join(text for text in texts if text != "{}\n")
