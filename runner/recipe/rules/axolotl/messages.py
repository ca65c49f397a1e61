"""Rules about conversations in local data: what a message's parts are called, and who speaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.local_data import Local, local_data

_SOURCE = "https://docs.axolotl.ai/docs/dataset-formats/conversation.html"
# who a role of the data speaks as where `roles` does not say (prompt_strategies/chat_template.py; dpo/chat_template.py)
_SUPERVISED = {"human": "user", "user": "user", "assistant": "assistant", "gpt": "assistant"}
_SUPERVISED |= {"system": "system", "tool": "tool"}
_PAIRED = ("user", "assistant", "system", "tool")
# names that other datasets have for the two parts
_OTHER = {"role": ("from", "speaker", "author", "sender"), "content": ("value", "text", "message", "body")}
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,15}")
_HEADS = ("chat_template.default", "chat_template.argilla_chat")


@rule("R851", "messages whose parts have other names", source=_SOURCE)
def parts(facts: Facts) -> Iterator[Diagnostic]:
    """A message has a `role` and a `content`; where the data call them otherwise, as ShareGPT's `from` and `value`,
    `message_property_mappings` says so in supervised training. Without that Axolotl ends with a KeyError when it makes
    the first row; of pairs it takes no other names at all.
    """
    for local, pairs in _conversations(facts):
        spoken = list(_messages(local, pairs))
        names = _names(local.entry, pairs)
        keys = list(dict.fromkeys(str(k) for message in spoken for k in message))
        lost = [part for part, name in names.items() if spoken and name not in keys]
        # an assistant that calls tools says nothing beside
        if not lost or (lost == ["content"] and "tool_calls" in keys):
            continue
        guess = {p: next((k for k in _OTHER[p] if k in keys), None) or nearest_word(names[p], keys) for p in names}
        found = {p: (guess[p] if p in lost else names[p]) for p in names}
        mapped = ", ".join(f"{p}: {printable(str(found[p]), 40)}" for p in names)
        mend = "say in `message_property_mappings` which of these are `role` and `content`"
        if pairs:
            mend = "rename them in the data to `role` and `content`: of pairs Axolotl takes no other names"
        elif all(found.values()):
            mend = f"set `message_property_mappings: {{{mapped}}}`"
        shown = " or ".join(f"`{printable(names[p], 40)}`" for p in lost)
        yield facts.report(
            "R851",
            _at(facts, local, "message_property_mappings", "field_messages"),
            f"the messages of `{printable(_name(local), 60)}` have no {shown}",
            note="they have " + ", ".join(f"`{printable(k, 40)}`" for k in keys[:12]),
            help=mend,
        )


@rule("R852", "nobody speaks whose words are learned", source=_SOURCE)
def roles(facts: Facts) -> Iterator[Diagnostic]:
    """Of a conversation the turns of `roles_to_train` are learned, the assistant's unless it says otherwise. Data whose
    speakers are called something else have none: Axolotl takes the rows all the same, the loss is that of no token, and
    the run ends well; with packing it drops every row. Preference formats know `user`, `assistant`, `system` and `tool`
    alone, and end with a KeyError at any other. In supervised training `roles` says who speaks as whom.
    """
    for local, pairs in _conversations(facts):
        name = _names(local.entry, pairs)["role"]
        given = [m[name] for m in _messages(local, pairs) if isinstance(m.get(name), str)]
        speakers = list(dict.fromkeys(given))
        if not speakers:
            continue
        if pairs:
            unknown = [s for s in speakers if s not in _PAIRED]
            if unknown:
                yield _unmapped(facts, local, unknown)
            continue
        known = _known(local.entry)
        wanted = local.entry.get("roles_to_train")
        wanted = ["assistant"] if wanted is None else [known.get(str(r), str(r)) for r in wanted]
        told = ("message_field_training", "message_field_training_detail")
        if facts.has("train_on_inputs") or any(local.entry.get(k) for k in told) or not wanted:
            continue
        if not {known.get(s, s) for s in speakers} & set(wanted):
            yield _unlearned(facts, local, speakers, wanted)


def _unmapped(facts: Facts, local: Local, unknown: list[str]) -> Diagnostic:
    shown = _words(unknown)
    meant = {s: _SUPERVISED[s] for s in unknown if s in _SUPERVISED}
    renamed = " and ".join(f"`{s}` to `{role}`" for s, role in meant.items())
    return facts.report(
        "R852",
        f"{local.at}.type",
        f"`{local.entry.get('type')}` knows no role {shown}",
        note="roles: " + ", ".join(f"`{role}`" for role in _PAIRED) + "; it ends with a KeyError at any other",
        help=f"rename {renamed} in the data" if renamed else "rename them in the data to one of these",
    )


def _unlearned(facts: Facts, local: Local, speakers: list[str], wanted: list[str]) -> Diagnostic:
    shown = _words(speakers)
    wish = " or ".join(f"`{printable(w, 40)}`" for w in wanted[:6])
    strange = next((s for s in speakers if s not in _SUPERVISED and _WORD.fullmatch(s)), None)
    mend = "set `roles_to_train: [assistant]`"
    if strange:
        mend = f"set `roles: {{user: [user], assistant: [{printable(strange, 40)}]}}`"
    return facts.report(
        "R852",
        _at(facts, local, "roles_to_train", "roles"),
        f"nobody in `{printable(_name(local), 60)}` speaks as {wish}, and nothing else is learned",
        note=f"speakers of its first rows: {shown}",
        help=mend,
    )


def _words(speakers: list[str]) -> str:
    """Values of the data are shown only where they look like what a role is called."""
    words = [f"`{s}`" for s in speakers[:6] if _WORD.fullmatch(s)]
    return ", ".join(words + (["others"] if len(words) < len(speakers) else []))


def _conversations(facts: Facts) -> Iterator[tuple[Local, bool]]:
    """Datasets of a type that reads messages, and whether they are pairs."""
    if facts.has("skip_prepare_dataset"):
        return
    paired = facts.get("rl") in ("dpo", "ipo", "simpo")
    for local in local_data(facts):
        kind = local.entry.get("type")
        if (paired and kind in _HEADS) or (not facts.has("rl") and kind == "chat_template"):
            yield local, paired


def _names(entry: dict[str, Any], pairs: bool) -> dict[str, str]:
    """What the recipe calls the parts of a message, by the current keys or the former ones; of pairs none is read."""
    if pairs:
        return {"role": "role", "content": "content"}
    given = entry.get("message_property_mappings")
    given = given if isinstance(given, dict) and given else {}
    return {part: str(given.get(part) or entry.get(f"message_field_{part}") or part) for part in ("role", "content")}


def _messages(local: Local, pairs: bool) -> Iterator[dict[str, Any]]:
    fields: tuple[str, ...] = ("messages", "chosen", "rejected") if pairs else ("messages",)
    if local.entry.get("type") == "chat_template.argilla_chat":
        fields = ("chosen", "rejected")
    for row in local.rows:
        for name in fields:
            held = row.get(str(local.entry.get(f"field_{name}") or name))
            if isinstance(held, str):
                held = _decoded(held)
            for message in held if isinstance(held, list) else [held]:
                if isinstance(message, dict):
                    yield message


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _known(entry: dict[str, Any]) -> dict[str, str]:
    given = entry.get("roles")
    if not isinstance(given, dict) or not given:
        return _SUPERVISED
    return {str(s): str(role) for role, sources in given.items() for s in (sources or ()) if isinstance(sources, list)}


def _at(facts: Facts, local: Local, *keys: str) -> str:
    return next((f"{local.at}.{k}" for k in keys if facts.node(f"{local.at}.{k}")), f"{local.at}.type")


def _name(local: Local) -> str:
    return local.peeks[0].file.name if local.peeks else str(local.entry.get("path"))
