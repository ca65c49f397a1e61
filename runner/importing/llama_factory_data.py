"""An entry of LLaMA-Factory's dataset_info.json -> an entry of Axolotl's `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.importing.types import Draft
from runner.recipe.load import printable

_PLAIN = {"pt": "completion", "sft": "alpaca", "rm": "bradley_terry.chat_template", "kto": "chatml.argilla"}
_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}


def dataset(draft: Draft, key: str, name: str, info: dict[str, Any]) -> dict[str, Any]:
    """`key` is what names it. What is not in the list is told, and goes by its name."""
    entry = info.get(name)
    stage = str(draft.get("stage", "sft"))
    if not isinstance(entry, dict):
        where = "which lists it, is not beside the config" if not info else "does not list it"
        draft.by_hand(
            key,
            f"`{printable(name)}` is a name of dataset_info.json's; that file {where}",
            f"put the dataset's place in `path`, and what its rows look like in `type`, instead of `{printable(name)}`",
        )
        return {"path": name, "type": _PLAIN.get(stage, "chat_template.default")}
    place = _place(entry, info.get("", ""))
    columns = _strings(_COLUMNS, entry.get("columns"))
    if stage in ("dpo", "kto"):  # whose rows have no such key; the file's name says it
        place.pop("ds_type", None)
    if stage == "dpo":
        return {**place, **_pairs(draft, key, name, entry, columns)}
    if stage not in ("rm", "kto") and entry.get("formatting", "alpaca") in ("sharegpt", "openai"):
        return {**place, **_messages(entry, columns)}
    return {**place, **_instructions(draft, key, name, stage, columns)}


def _strings(defaults: dict[str, str], given: Any) -> dict[str, str]:
    mine = given if isinstance(given, dict) else {}
    return defaults | {str(k): str(v) for k, v in mine.items() if isinstance(v, str)}


def _place(entry: dict[str, Any], folder: str) -> dict[str, Any]:
    found: dict[str, Any] = {"path": entry.get("hf_hub_url") or entry.get("ms_hub_url") or entry.get("script_url")}
    if not found["path"]:
        file = str(entry.get("file_name", ""))
        found["path"] = str(Path(folder) / file)
        kind = {"jsonl": "json", "txt": "text"}.get(Path(file).suffix[1:], Path(file).suffix[1:])
        found |= {"ds_type": kind} if kind in ("json", "csv", "parquet", "arrow", "text") else {}
    for theirs, ours in (("subset", "name"), ("split", "split")):
        found |= {ours: entry[theirs]} if isinstance(entry.get(theirs), str) else {}
    return found


def _messages(entry: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    tags = _strings(_TAGS, entry.get("tags"))
    if entry.get("formatting") == "openai":
        tags = _strings(_TAGS | {"role_tag": "role", "content_tag": "content"}, entry.get("tags"))
    roles = {"user": [tags["user_tag"]], "assistant": [tags["assistant_tag"]], "system": [tags["system_tag"]]}
    names = {"user": "user", "assistant": "assistant", "system": "system"}
    return {
        "type": "chat_template",
        "field_messages": columns["messages"],
        "message_property_mappings": {"role": tags["role_tag"], "content": tags["content_tag"]},
        **({} if all(roles[r] == [n] for r, n in names.items()) else {"roles": roles}),
    }


def _instructions(draft: Draft, key: str, name: str, stage: str, columns: dict[str, str]) -> dict[str, Any]:
    if stage == "pt":
        return {"type": "completion", "field": columns["prompt"]}
    if stage in ("rm", "kto"):
        draft.by_hand(
            key, f"Axolotl wants `{printable(name)}`'s rows as turns, with columns of other names", "see phase4/"
        )
        return {"type": _PLAIN[stage]}
    if draft.get("template") not in (None, "alpaca"):
        # their template goes around instructions too; Axolotl's `alpaca` is a prompt of its own
        draft.by_hand(
            key,
            f"`{printable(name)}` holds instructions, which Axolotl puts into Alpaca's prompt, not a chat template",
            "keep `type: alpaca`, or turn the rows into messages and use `type: chat_template`",
        )
    usual = all(columns[k] == _COLUMNS[k] for k in ("prompt", "query", "response"))
    fields = {
        "field_instruction": columns["prompt"],
        "field_input": columns["query"],
        "field_output": columns["response"],
    }
    prompt = {"format": "{instruction}\n{input}", "no_input_format": "{instruction}"}
    return {"type": "alpaca" if usual else fields | prompt}


def _pairs(draft: Draft, key: str, name: str, entry: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    chosen, rejected = columns.get("chosen", "chosen"), columns.get("rejected", "rejected")
    if entry.get("formatting") in ("sharegpt", "openai"):
        turns = _messages(entry, columns)
        if "roles" in turns or turns["message_property_mappings"] != {"role": "role", "content": "content"}:
            draft.by_hand(
                key,
                f"Axolotl wants the turns of `{printable(name)}`'s pairs with `role` and `content`, and its own roles",
                "rename them in the rows: a dataset of pairs has no `roles` and no `message_property_mappings`",
            )
        fields = {"field_messages": turns["field_messages"], "field_chosen": chosen, "field_rejected": rejected}
        return {"type": "chat_template.default", **fields}
    draft.by_hand(
        key,
        f"`{printable(name)}` holds pairs of answers to an instruction, for which Axolotl needs a prompt's text",
        "look at `prompt_format`: it is the instruction alone",
    )
    names = {"field_prompt": columns["prompt"], "field_chosen": chosen, "field_rejected": rejected}
    return {"type": names | {"prompt_format": "{prompt}", "chosen_format": "{chosen}", "rejected_format": "{rejected}"}}
