"""Local files and folders that a recipe reads, wherever it names them: what its result depends on besides itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# keys with one path, and keys with a list of entries that name some
SINGLE = ("base_model", "model", "prepared", "source", "tokenizer", "dataset", "peft", "include_path")
ENTRIES = ("datasets", "test_datasets", "pretraining_dataset", "decontaminate", "sources")
# keys with one such entry
TEXTS = ("calibration", "held_out")
# keys of a mapping with one path
BELOW = (("evaluation", "questions"), ("embedding", "model"))
CODE = "model_code"


def entry_paths(entry: Any) -> list[str]:
    """What an entry of a dataset names: its files where it lists some, and its path."""
    if not isinstance(entry, Mapping):
        return [entry] if isinstance(entry, str) else []
    given = entry.get("data_files")
    listed = given if isinstance(given, list) else [given]
    return [name for name in (*listed, entry.get("path")) if isinstance(name, str)]


def named_paths(values: Mapping[str, Any]) -> Iterator[str]:
    """Every text that may be a path, in the order of the keys; most are names of the hub."""
    for key in SINGLE:
        if isinstance(values.get(key), str):
            yield values[key]
    code = values.get(CODE)
    if isinstance(code, Mapping) and isinstance(code.get("file"), str):
        yield code["file"]
    for key in (*ENTRIES, *TEXTS):
        listed = values.get(key)
        for entry in listed if isinstance(listed, list) else [listed]:
            yield from entry_paths(entry)
    for key, below in BELOW:
        mapping = values.get(key)
        if isinstance(mapping, Mapping) and isinstance(mapping.get(below), str):
            yield mapping[below]


def local_paths(values: Mapping[str, Any], root: Path | None = None) -> list[Path]:
    """Those that are there. Without `root` only absolute ones count, as in a resolved recipe."""
    found: dict[Path, None] = {}
    for text in named_paths(values):
        if root is None and not text.startswith("/"):
            continue
        path = (root or Path()) / text
        if "\x00" not in text and len(text) < 1024 and os.path.exists(path):  # noqa: PTH110 - Path's raises on odd names
            found[path] = None
    return list(found)
