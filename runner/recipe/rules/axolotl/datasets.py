"""Rules about a dataset's `type`: which formats a method can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.names import SUPERVISED

_CHAT = ("argilla_chat", "icr", "intel", "prompt_pairs", "ultra")
_KTO = ("argilla", "argilla_chat", "intel", "prompt_pairs", "ultra")
_PAIRS = {
    "chat_template": ("default", "argilla_chat"),
    "chatml": ("default", *_CHAT),
    "llama3": ("default", *_CHAT),
    "passthrough": ("default",),
    "user_defined": ("default",),
    "zephyr": ("nectar",),
}
# method -> module of Axolotl's prompt strategies -> its functions
TYPES: dict[str, dict[str, tuple[str, ...]]] = {
    "dpo": _PAIRS,
    "ipo": _PAIRS,
    "simpo": _PAIRS,
    "kto": {"chatml": _KTO, "llama3": _KTO, "user_defined": ("default",)},
    "orpo": {"chat_template": ("argilla",)},
}


def _names(method: str) -> list[str]:
    return [f"{head}.{function}" for head, functions in TYPES[method].items() for function in functions]


_PREFERENCE = {name for method in TYPES for name in _names(method)}
_HEADS = {head for table in TYPES.values() for head in table} | set(SUPERVISED) | set(TYPES) | {"bradley_terry"}


@rule("R152", "a dataset type that the method can't read", source="https://docs.axolotl.ai/docs/rlhf.html")
def preference_types(facts: Facts) -> Iterator[Diagnostic]:
    """Preference methods read pairs or labelled answers through formats of their own, named as module and function
    (`chat_template.default`). A format of supervised training, or of another method, is not found among them, and the
    run ends when the data is first touched. A dotted name that Axolotl does not know is taken for your own module.
    """
    method = facts.get("rl")
    if method not in TYPES:
        return
    for key in ("datasets", "test_datasets"):
        for at, node in facts.all(f"{key}.*.type"):
            if not _fits(node.plain(), method):
                yield _unfit(facts, at, node.plain(), method)


def _fits(given: Any, method: str) -> bool:
    if isinstance(given, dict):
        return "user_defined" in TYPES[method]
    if not isinstance(given, str):
        return True
    parts = given.split(".")
    if len(parts) > 2:
        return True
    head, function = (parts[0], parts[1]) if len(parts) == 2 else (parts[0], "default")
    if function in TYPES[method].get(head, ()):
        return True
    known = head in _HEADS or head.startswith("sharegpt")
    return not known and nearest_word(given, _names(method)) is None


def _unfit(facts: Facts, at: str, given: Any, method: str) -> Diagnostic:
    names = _names(method)
    if isinstance(given, dict):
        shown, close, owner = "a dataset type given as a mapping", None, None
    else:
        shown, close = f"the dataset type `{printable(str(given))}`", nearest_word(str(given), names)
        owner = next((m for m in TYPES if given in _names(m)), "supervised" if given in SUPERVISED else None)
    label = f"did you mean `{close}`?" if close else ""
    return facts.report(
        "R152",
        at,
        f"`rl: {method}` can't read {shown}",
        label=f"that is for {'supervised training' if owner == 'supervised' else f'`rl: {owner}`'}" if owner else label,
        note="types: " + ", ".join(f"`{n}`" for n in names),
        help=f"set `type: {close or names[0]}`",
    )


@rule(
    "R145", "a dataset type that supervised training can't read", source="https://docs.axolotl.ai/docs/dataset-formats/"
)
def supervised_types(facts: Facts) -> Iterator[Diagnostic]:
    """Without `rl`, `type` names one of Axolotl's formats for supervised training, and reward models read the
    `bradley_terry` ones. A plain word that is none of them, a format of pairs, and `sharegpt`, which is gone, all end
    the run when the data is loaded. A dotted name that Axolotl does not know is taken for your own module.
    """
    if facts.has("rl") or "rl" in facts.refused or facts.has("skip_prepare_dataset"):
        return
    reward = facts.has("reward_model")
    for key in ("datasets", "test_datasets"):
        for at, node in facts.all(f"{key}.*.type"):
            given = node.value
            if not isinstance(given, str) or given.startswith("bradley_terry."):
                continue
            if given.startswith("sharegpt"):
                yield facts.report(
                    "R145",
                    at,
                    "the dataset type `sharegpt` is gone",
                    help="set `type: chat_template` and `field_messages: conversations`",
                )
            elif reward and (given in SUPERVISED or given in _PREFERENCE):
                yield facts.report(
                    "R145",
                    at,
                    f"a reward model can't read the dataset type `{given}`",
                    help="set `type: bradley_terry.chat_template`",
                )
            elif given in _PREFERENCE:
                yield facts.report(
                    "R145",
                    at,
                    f"the dataset type `{given}` is for `rl`",
                    help="set `type: chat_template`, or use kind `dpo`",
                )
            elif given.replace("_", "").isalnum() and given not in SUPERVISED:
                yield _unknown(facts, at, given)


def _unknown(facts: Facts, at: str, given: str) -> Diagnostic:
    close = nearest_word(given, SUPERVISED)
    return facts.report(
        "R145",
        at,
        f"unknown dataset type `{printable(given)}`",
        label=f"did you mean `{close}`?" if close else "",
        help=f"set `type: {close or 'chat_template'}`",
    )
