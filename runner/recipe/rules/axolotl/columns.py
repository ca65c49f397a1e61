"""Rule about the columns that a dataset's type reads, against those that its files have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.local_data import TOKENIZED, Local, local_data

_SOURCE = "https://docs.axolotl.ai/docs/dataset-formats/"


@dataclass(frozen=True, slots=True)
class Need:
    """A column by any of its names; `key` of the recipe's entry says another, where there is one."""

    names: tuple[str, ...]
    key: str | None = None


def _columns(text: str) -> tuple[Need, ...]:
    """`a b|c`: a, and b or else c."""
    return tuple(Need(tuple(each.split("|"))) for each in text.split())


_ALPACA = "instruction output"
# supervised formats and the columns that they can't do without (Axolotl 0.19: prompt_tokenizers.py, prompt_strategies/)
_SUPERVISED = {
    "alpaca": _ALPACA,
    "alpaca_chat": _ALPACA,
    "alpaca_chat.load_qa": "question answer",
    "alpaca_chat.load_camel_ai": "message_1 message_2",
    "alpaca_instruct": _ALPACA,
    "alpaca_w_system": f"{_ALPACA} system",
    "alpaca_w_system.load_open_orca": "question response system_prompt",
    "alpaca_w_system.load_open_orca_chatml": "question response system_prompt",
    "concisechoice": "question choices solution|explanation",
    "explainchoice": "question choices solution|explanation",
    "context_qa": "article question answer",
    "context_qa.load_v2": "context question answer",
    "context_qa.load_404": "article unanswerable_question",
    "gpteacher": "instruction response",
    "input_output": "segments",
    "jeopardy": "question category answer",
    "llama2_chat": "conversations",
    "metharme": "prompt generation",
    "oasst": "INSTRUCTION RESPONSE",
    "orcamini": "question response system_prompt",
    "pygmalion": "conversations",
    "reflection": f"{_ALPACA} reflection corrected",
    "stepwise_supervised": "prompt completions labels",
    "summarizetldr": "article summary",
    "bradley_terry.chat_template": "system input chosen rejected",
    "bradley_terry.llama3.icr": "input chosen rejected",
}
_PAIR = "prompt chosen rejected"
_DPO = {
    "default": "prompt|input|question|instruction chosen|chosen_response rejected|rejected_response",
    "argilla_chat": "chosen rejected",
    "icr": "input chosen rejected",
    "intel": "question chosen rejected",
    "prompt_pairs": _PAIR,
    "ultra": _PAIR,
}
_KTO = {
    "argilla": "instruction completion label",
    "argilla_chat": "completion label",
    "intel": "question completion label",
    "prompt_pairs": "prompt completion label",
    "ultra": "prompt completion label",
}
# columns that a key of a `user_defined` type names: what it is where the key is not given
_OWN = {"dpo": ("prompt", "chosen", "rejected"), "kto": ("prompt", "completion", "label")}
_PAIRED = ("dpo", "ipo", "simpo")


@rule("R850", "a column that the dataset lacks", source=_SOURCE)
def columns(facts: Facts) -> Iterator[Diagnostic]:
    """Each dataset type reads columns of its own names, and some take others by a key of the entry: `field_messages`,
    `field`, `field_chosen`. Axolotl looks for them when it makes the first row, after the model's files were fetched,
    and ends with a KeyError. Of a `user_defined` type that names no column of answers it drops every row, and ends with
    nothing to train on. Files on this machine are looked into, the first rows of each.
    """
    for local in local_data(facts):
        if not local.columns or set(local.columns) >= TOKENIZED or any(p.trouble for p in local.peeks):
            continue
        for need in needs(facts, local):
            if not set(need.names) & set(local.columns):
                yield _lacks(facts, local, need)
                break


def needs(facts: Facts, local: Local) -> tuple[Need, ...]:
    """The columns that the entry's type can't do without; none where they are not known."""
    kind, method = local.entry.get("type"), facts.get("rl")
    if facts.has("skip_prepare_dataset"):
        return ()
    if method is None:
        return _supervised(kind, local.entry)
    if isinstance(kind, dict):
        names = _OWN["kto" if method == "kto" else "dpo"] if method in (*_PAIRED, "kto") else ()
        return tuple(Need((str(kind.get(f"field_{n}") or n),), f"type.field_{n}") for n in names)
    if kind is None:
        return _columns(_PAIR) if method in (*_PAIRED, "orpo") else ()
    return _preferences(str(kind), str(method), local.entry)


def _supervised(kind: Any, entry: dict[str, Any]) -> tuple[Need, ...]:
    if isinstance(kind, dict):
        named = {n: str(kind.get(f"field_{n}") or n) for n in ("instruction", "output")}
        return tuple(Need((name,), f"type.field_{n}") for n, name in named.items())
    if not isinstance(kind, str):
        return ()
    if kind == "chat_template":
        return (Need((str(entry.get("field_messages") or "messages"),), "field_messages"),)
    if kind == "completion":
        return (Need((str(entry.get("field") or "text"),), "field"),)
    named_type = kind.partition(":")[0]
    named_type = named_type.removesuffix(".load")
    return _columns(_SUPERVISED.get(named_type, ""))


def _preferences(kind: str, method: str, entry: dict[str, Any]) -> tuple[Need, ...]:
    head, _, function = kind.partition(".")
    function = function or "default"
    if method == "orpo":
        return _columns("chosen rejected") if kind == "chat_template.argilla" else ()
    if method == "kto":
        return _columns(_KTO.get(function, "")) if head in ("chatml", "llama3") else ()
    if method not in _PAIRED:
        return ()
    if head == "chat_template" and function in ("default", "argilla_chat"):
        fields = ("messages", "chosen", "rejected") if function == "default" else ("chosen", "rejected")
        return tuple(Need((str(entry.get(f"field_{f}") or f),), f"field_{f}") for f in fields)
    if head in ("chatml", "llama3"):
        return _columns(_DPO.get(function, ""))
    return _columns({"passthrough": _PAIR, "zephyr": "prompt answers"}.get(head, ""))


# columns that hold conversations in the datasets that people have
_MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat")


def _lacks(facts: Facts, local: Local, need: Need) -> Diagnostic:
    name = need.names[0]
    there = list(local.columns)
    close = nearest_word(name, there)
    if close is None and name in _MESSAGES:
        close = next((c for c in there if c in _MESSAGES), None)
    wanted = " or ".join(f"`{printable(n, 40)}`" for n in need.names)
    at = f"{local.at}.{need.key}" if need.key and facts.node(f"{local.at}.{need.key}") else f"{local.at}.type"
    kind = local.entry.get("type")
    shown = f"`type: {printable(kind, 40)}`" if isinstance(kind, str) else "this type"
    key = (need.key or "").rpartition(".")[2]
    if close and key:
        help = f"set `{key}: {printable(close, 40)}`"
    elif key:
        help = f"set `{key}` to the column that is meant, or choose the `type` that fits these columns"
    elif fitting := _fitting(facts, set(there)):
        help = f"set `type: {fitting}`, which reads these columns"
    else:
        help = f"rename `{printable(close, 40)}` to `{name}` in the data" if close else "choose the `type` that fits"
    return facts.report(
        "R850",
        at if facts.node(at) else local.key,
        f"{_file(local)} has no column {wanted}, which {shown} reads",
        label=f"did you mean `{printable(close, 40)}`?" if close else "",
        note="columns: " + ", ".join(f"`{printable(c, 40)}`" for c in there[:12]) + (", ..." if there[12:] else ""),
        help=help,
    )


def _fitting(facts: Facts, there: set[str]) -> str | None:
    """A supervised format that reads these columns."""
    if facts.has("rl") or facts.has("reward_model"):
        return None
    if "messages" in there:
        return "chat_template"
    known = ((name, _columns(text)) for name, text in _SUPERVISED.items() if not name.startswith("bradley_terry"))
    return next((name for name, needed in known if all(set(need.names) & there for need in needed)), None)


def _file(local: Local) -> str:
    return f"`{printable(local.peeks[0].file.name, 60)}`" if local.peeks else "the dataset"
