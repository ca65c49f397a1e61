"""Rules about DPO, IPO, KTO, ORPO and SimPO: keys and sizes that belong to a method."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import LOSSES

_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
_BUILDER = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/core/builders/rl.py"
# key -> the methods that read it
_READ_BY = {
    "orpo_alpha": ("orpo",),
    "simpo_gamma": ("simpo",),
    "cpo_alpha": ("simpo",),
    "kto_desirable_weight": ("kto",),
    "kto_undesirable_weight": ("kto",),
    "dpo_label_smoothing": ("dpo",),
    "dpo_use_weighting": ("dpo", "ipo"),
    "dpo_padding_free": ("dpo", "ipo"),
    "dpo_use_liger_kernel": ("dpo", "ipo"),
    "precompute_ref_log_probs": ("dpo", "ipo"),
}
_PAIR_ROWS = ["path", "split", "type", "data_files", "revision", "field_messages", "field_chosen", "field_rejected"]
# method -> keys of its datasets
_ROWS = {
    **dict.fromkeys(("dpo", "ipo", "simpo"), _PAIR_ROWS),
    "kto": ["path", "split", "type", "data_files", "trust_remote_code", "revision"],
}
# the same of a `type` that is written out
_PAIR_TYPE = [
    "field_system", "field_prompt", "field_chosen", "field_rejected", "prompt_format", "chosen_format",
    "rejected_format",
]  # fmt: skip
_TYPES = {
    **dict.fromkeys(("dpo", "ipo", "simpo"), _PAIR_TYPE),
    "kto": ["field_system", "field_prompt", "field_completion", "field_label", "prompt_format", "completion_format"],
}


@rule("R150", "KTO that would lose its columns", source=_VALIDATION)
def kto_columns(facts: Facts) -> Iterator[Diagnostic]:
    """KTO's rows carry a label and a shuffled completion besides what the model reads. The trainer would remove them as
    unused columns, and Axolotl refuses KTO until the recipe turns that off.
    """
    if facts.get("rl") == "kto" and facts.get("remove_unused_columns") is not False:
        if "remove_unused_columns" in facts.refused:
            return
        at = "remove_unused_columns" if facts.has("remove_unused_columns") else "rl"
        yield facts.report(
            "R150",
            at,
            "`rl: kto` needs `remove_unused_columns: false`",
            label="labels are a column that the model doesn't read",
            help="set `remove_unused_columns: false`",
        )


@rule("R151", "KTO on one sample at a time", source="https://huggingface.co/docs/trl/kto_trainer")
def kto_batch(facts: Facts) -> Iterator[Diagnostic]:
    """KTO estimates how far the policy has moved by pairing each prompt with another sample's completion from the same
    batch. A batch of one pairs a sample with itself, the estimate equals the reward, and TRL refuses to start. It is
    the batch of one GPU that counts; accumulation does not help.
    """
    size = facts.get("micro_batch_size", 1)
    if facts.get("rl") == "kto" and size < 2 and "micro_batch_size" not in facts.refused:
        yield facts.report(
            "R151",
            "micro_batch_size" if facts.get("micro_batch_size") else "rl",
            "KTO needs at least two samples per GPU at a time",
            label="one is Axolotl's default" if facts.lacks("micro_batch_size") else "",
            help="set `micro_batch_size: 2` or more",
        )


@rule("R153", "keys of another method", source=_BUILDER, severity="warning")
def keys_of_another_method(facts: Facts) -> Iterator[Diagnostic]:
    """Each preference method has settings of its own, and Axolotl reads a setting only where its method is chosen. The
    exception makes matters worse: `orpo_alpha` becomes the `beta` of whichever method runs, unless `rl_beta` is given.
    """
    if "rl" in facts.refused:
        return
    method = facts.get("rl")
    for key, methods in _READ_BY.items():
        if not facts.has(key) or method in methods:
            continue
        owners = " and ".join(f"`rl: {m}`" for m in methods)
        shown = f"`rl: {method}`" if method else "no `rl`"
        beta = key == "orpo_alpha" and method and facts.lacks("rl_beta") and facts.get("trl.beta") is None
        yield facts.report(
            "R153",
            key,
            f"`{key}` is a setting of {owners}, and this recipe has {shown}",
            label="it would be taken for `rl_beta`" if beta else "it is ignored",
            help=f"rename it to `rl_beta`, or set `rl: {methods[0]}`" if beta else f"remove `{key}`",
            severity="warning",
        )
    if method is None:
        for key in ("rl_beta", "trl"):
            if facts.has(key):
                yield facts.report(
                    "R153",
                    key,
                    f"`{key}` is a setting of `rl`, and this recipe has none",
                    label="it is ignored",
                    help=f"remove `{key}`",
                    severity="warning",
                )


@rule("R154", "DPO losses that do not add up", source="https://huggingface.co/docs/trl/dpo_trainer")
def dpo_losses(facts: Facts) -> Iterator[Diagnostic]:
    """`dpo_loss_type` lists one or more of TRL's losses and `dpo_loss_weights` says how much each counts, so the lists
    must be equally long. They belong to `rl: dpo` alone: Axolotl refuses them with any other method. Liger's fused
    kernel has no IPO loss.
    """
    types, weights = facts.get("dpo_loss_type"), facts.get("dpo_loss_weights")
    at = "dpo_loss_type" if types is not None else "dpo_loss_weights"
    if (types is not None or weights is not None) and facts.get("rl") != "dpo" and "rl" not in facts.refused:
        yield facts.report("R154", at, f"`{at}` belongs to `rl: dpo`", help=f"set `rl: dpo`, or remove `{at}`")
        return
    for i, name in enumerate(types or []):
        if name not in LOSSES:
            close = nearest_word(str(name), LOSSES)
            yield facts.report(
                "R154",
                f"dpo_loss_type.{i}",
                f"unknown DPO loss `{printable(str(name))}`",
                label=f"did you mean `{close}`?" if close else "",
                note="losses: " + ", ".join(f"`{loss}`" for loss in LOSSES),
                help=f"write `{close or 'sigmoid'}`",
            )
    if weights is not None and "dpo_loss_type" not in facts.refused and len(weights) != len(types or []):
        yield facts.report(
            "R154",
            "dpo_loss_weights",
            f"`dpo_loss_weights` has {len(weights)} for {len(types or [])} in `dpo_loss_type`",
            help="give one weight for each loss",
        )
    ipo = facts.get("rl") == "ipo" or (types or [""])[0] == "ipo"
    if facts.has("dpo_use_liger_kernel") and ipo:
        yield facts.report(
            "R154", "dpo_use_liger_kernel", "Liger's kernel has no `ipo` loss", help="remove `dpo_use_liger_kernel`"
        )


@rule("R155", "SimPO with a warm-up ratio", source=_VALIDATION)
def simpo_warmup(facts: Facts) -> Iterator[Diagnostic]:
    """The trainer behind SimPO takes its warm-up in steps only, and Axolotl refuses a ratio."""
    if facts.get("rl") == "simpo" and facts.has("warmup_ratio"):
        yield facts.report(
            "R155", "warmup_ratio", "`warmup_ratio` does not work with `rl: simpo`", help="give `warmup_steps` instead"
        )


@rule("R156", "two values for beta", source=_BUILDER, severity="warning")
def beta_twice(facts: Facts) -> Iterator[Diagnostic]:
    """`rl_beta` and `trl.beta` are two names for how firmly training is held to the reference model. Axolotl takes
    `trl.beta` where both are given and never looks at the other.
    """
    one, two = facts.get("trl.beta"), facts.get("rl_beta")
    if facts.has("rl") and one is not None and two is not None and one != two:
        yield facts.report(
            "R156",
            "rl_beta",
            f"`rl_beta: {two}` is ignored beside `trl.beta: {one}`",
            help="remove one of the two",
            severity="warning",
        )


@rule(
    "R836",
    "a dataset's key that the method does not read",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/datasets.py",
)
def keys_of_other_rows(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl reads a row of `datasets` as its method's own class, and drops what that class does not know: preference
    rows have fields for the two answers and none for shards or roles, and KTO's rows have no fields to name at all but
    in `type`.
    """
    method = str(facts.get("rl"))
    for path, known in (("datasets.*", _ROWS), ("datasets.*.type", _TYPES)):
        read = known.get(method, [])
        for at, node in facts.all(path) if read else ():
            for key, value in node.value.items() if isinstance(node.value, dict) else ():
                if key not in read and value.value is not None:
                    yield facts.report(
                        "R836",
                        f"{at}.{key}",
                        f"`{key}` of a dataset does nothing with `rl: {method}`",
                        note="read: " + ", ".join(f"`{k}`" for k in read),
                        help=f"remove `{key}`",
                    )
