"""Datasets as a recipe lists them -> rows: local files, what is generated, and what the `datasets` library loads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import generated
from .settings import BadSettings, local_file


def rows(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each a mapping of columns; a `.txt` file is one row. Raises BadSettings where a file is missing or no JSON."""
    if "generate" in item:
        yield from generated.rows(item["generate"], item.get("rows", 1000), item.get("seed", 0))
        return
    file = local_file(item)
    if file is None:
        from datasets import load_dataset

        chosen = {key: item[key] for key in ("name", "revision", "data_files") if key in item}
        yield from load_dataset(item["path"], split=item.get("split", "train"), **chosen)
    elif not file.is_file():
        raise BadSettings(f"{file}: no such file")
    elif file.suffix == ".txt":
        yield {"text": file.read_text(encoding="utf-8")}
    else:
        yield from _lines(file)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                raise BadSettings(f"{file}:{number}: not a line of JSON") from None
            if not isinstance(row, dict):
                raise BadSettings(f"{file}:{number}: not a row of columns")
            yield row


def texts(listed: list[dict[str, Any]]) -> Iterator[str]:
    """The text of every row that has some."""
    for item in listed:
        for row in rows(item):
            text = column(row, item, "field", "text")
            if text:
                yield text


def name_of(item: dict[str, Any]) -> str:
    """How a metric calls a dataset: `copy`, `multi30k`."""
    return str(item.get("generate") or Path(str(item["path"])).stem)


def pairs(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """`(source, target)` of every row: `field` with `prefix` before it, and `target_field`, or the word that `labels`
    has for it. Rows that lack either are left out."""
    words = {str(key): str(word) for key, word in (item.get("labels") or {}).items()}
    for row in rows(item):
        source, target = column(row, item, "field", "text"), column(row, item, "target_field", "target")
        target = words.get(target, target)
        if source and target:
            yield item.get("prefix", "") + source, target


def labelled(item: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """`(text, class)` of every row that has both; a class below 0 means that nobody knows."""
    for row in rows(item):
        text, label = column(row, item, "field", "text"), row.get(item.get("label_field", "label"))
        if text and isinstance(label, int) and label >= 0:
            yield text, label


def column(row: dict[str, Any], item: dict[str, Any], key: str, default: str) -> str:
    """The column that the recipe names under `key`, as text; empty where the row lacks it."""
    name = item.get(key, default)
    if name not in row:
        raise BadSettings(f"`{name_of(item)}` has no column `{name}`; it has {', '.join(row)}: set `{key}`")
    value = row[name]
    return "" if value is None else str(value)
