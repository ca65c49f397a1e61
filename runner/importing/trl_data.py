"""TRL's and the alignment handbook's ways to name data -> Axolotl's `datasets` and `test_datasets`."""

from __future__ import annotations

from typing import Any

from runner.importing.types import Draft

SPECIAL = {
    *("dataset_name", "dataset_config", "dataset_train_split", "dataset_test_split", "dataset_text_field"),
    *("dataset_mixer", "dataset_splits", "dataset_configs", "dataset_mixture", "datasets", "text_column", "columns"),
    *("train_split", "test_split"),
}
_TYPES = {
    "sft": "chat_template",
    "reward": "bradley_terry.chat_template",
    "kto": "chatml.argilla",
    "orpo": "chat_template.argilla",
    "grpo": "chat_template",
    "dpo": "chat_template.argilla_chat",
    "simpo": "chat_template.argilla_chat",
}
# methods whose rows Axolotl wants with columns of its own
_OWN_COLUMNS = ("kto", "reward", "grpo")


def datasets(draft: Draft, method: str) -> None:
    """What a row looks like is not in their configs: it is taken for what TRL's documents show, and told where Axolotl
    wants another shape."""
    train: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    row = _row(draft, method)
    named = "dataset_name"
    if draft.get("dataset_mixture") or draft.get("datasets"):
        named = "dataset_mixture" if draft.get("dataset_mixture") else "datasets"
        _mixture(draft, named, row, train)
    elif draft.get("dataset_mixer"):
        named = "dataset_mixer"
        _mixer(draft, row, train, test)
    elif draft.get("dataset_name"):
        place: dict[str, Any] = {"path": str(draft.get("dataset_name"))}
        place |= {"name": str(draft.get("dataset_config"))} if draft.get("dataset_config") else {}
        train.append(place | {"split": str(draft.get("dataset_train_split", "train"))} | row)
        if draft.get("dataset_test_split"):
            test.append(place | {"split": str(draft.get("dataset_test_split"))} | row)
    if train:
        draft.values["datasets"] = train
        if test and _evaluates(draft):
            draft.values["test_datasets"] = test
    _tell(draft, named if train else None, bool(draft.values.get("test_datasets")))
    if method in _OWN_COLUMNS and train:
        draft.by_hand(named, f"Axolotl's rows for {method} have columns of their own", "see the recipes in phase4/")


def _row(draft: Draft, method: str) -> dict[str, Any]:
    field = draft.get("dataset_text_field") or draft.get("text_column")
    if method == "sft" and isinstance(field, str) and (field != "text" or draft.get("text_column")):
        return {"type": "completion", "field": field}
    found: dict[str, Any] = {"type": _TYPES[method]}
    return {**found, "field_messages": "messages"} if method == "sft" else found


def _evaluates(draft: Draft) -> bool:
    return draft.get("do_eval") is not False and any(
        draft.get(key) not in (None, "no", False)
        for key in ("eval_strategy", "evaluation_strategy", "eval_steps", "do_eval")
    )


def _mixture(draft: Draft, key: str, row: dict[str, Any], train: list[dict[str, Any]]) -> None:
    given = draft.get(key)
    given = given.get("datasets") if isinstance(given, dict) else given
    size = draft.source.values.get(key)
    for item in given if isinstance(given, list) else []:
        if not isinstance(item, dict):
            continue
        place: dict[str, Any] = {"path": str(item.get("id") or item.get("path") or item.get("name"))}
        config = item.get("config") or (item.get("name") if item.get("path") else None)
        place |= {"name": str(config)} if config and config != "default" else {}
        train.append(
            place | {"split": _part(str(item.get("split", "train")), item.get("weight", item.get("fraction")))} | row
        )
    held = size.get("test_split_size") if isinstance(size, dict) else None
    if isinstance(held, (int, float)) and _evaluates(draft):
        draft.put(f"{key}.test_split_size", {"val_set_size": held})


def _mixer(draft: Draft, row: dict[str, Any], train: list[dict[str, Any]], test: list[dict[str, Any]]) -> None:
    mixer = draft.get("dataset_mixer")
    splits = draft.get("dataset_splits", ["train", "test"])
    splits = [str(s) for s in splits] if isinstance(splits, list) else [str(splits)]
    configs = draft.get("dataset_configs")
    for i, (path, weight) in enumerate(mixer.items() if isinstance(mixer, dict) else ()):
        place: dict[str, Any] = {"path": str(path)}
        if isinstance(configs, list) and i < len(configs):
            place["name"] = str(configs[i])
        for split in splits:
            held = "test" in split
            (test if held else train).append(place | {"split": split if held else _part(split, weight)} | row)


def _part(split: str, weight: Any) -> str:
    """A weight below one takes that part of the rows, as in the handbook."""
    if isinstance(weight, (int, float)) and not isinstance(weight, bool) and 0 < weight < 1:
        return f"{split}[:{max(1, round(100 * weight))}%]"
    return split


def _tell(draft: Draft, named: str | None, tests: bool) -> None:
    for key in sorted(SPECIAL & draft.source.values.keys()):
        if key == named:
            draft.put(key, {"datasets": draft.values["datasets"]}, "their rows as TRL's documents have them")
        elif key == "dataset_test_split" and tests:
            draft.put(key, {"test_datasets": draft.values["test_datasets"]})
        elif named is None:
            draft.drop(key, "no dataset is named with it")
        else:
            draft.drop(key, "in `datasets`" if key != "dataset_test_split" else "nothing is evaluated")
