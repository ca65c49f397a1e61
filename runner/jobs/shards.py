"""Reads prepared shards: tokens of whole documents, end to end, as blocks of `sequence_len`.

A dataset is a folder with `manifest.json` and datatrove's token files: `train/*.ds`, little-endian unsigned integers of
`token_bytes` each, every document closed by the end token. Files are memory-mapped, so that any number of ranks and
workers share one copy; nothing here needs torch.

    {"format": 1, "token_bytes": 2, "vocab_size": 2048, "eos_token_id": 2, "seed": 42,
     "splits": {"train": {"documents": 9, "tokens": 4711,
                          "files": [{"path": "train/00000.ds", "tokens": 4711, "documents": 9, "sha256": "..."}]},
                "validation": {...}}, ...}
"""

from __future__ import annotations

import bisect
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

MANIFEST = "manifest.json"
FORMAT = 1


class BadShards(Exception):
    """A dataset that can't be trained on; the message names the file and what is wrong with it."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises BadShards where there is none, or one that this reader does not know."""
    file = folder / MANIFEST
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadShards(
            f"{folder}: no {MANIFEST}, so this is no prepared dataset, or one that was not finished"
        ) from None
    except (OSError, ValueError) as error:
        raise BadShards(f"{file}: can't be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BadShards(f"{file}: not of format {FORMAT}")
    return found


class Shards:
    """One split as blocks: `len()` of them, each `{"input_ids": [sequence_len + extra], "labels": the same}` as int64.

    The blocks follow each other without a gap, over the borders of documents and files; what is left at the end and
    does not fill a block is not used (`left_over` tokens). With `extra=1` a block has one token more, the first of the
    next one, so that every token but the very first is predicted once.

    Raises BadShards: no manifest, no such split, a file missing or of another size than the manifest says.
    """

    # as a `datasets.Dataset` has them: Axolotl's trainer asks
    column_names = ("input_ids", "labels")

    def __init__(self, folder: str | Path, split: str, sequence_len: int, *, extra: int = 0) -> None:
        self.folder, self.length, self.extra = Path(folder), sequence_len, extra
        manifest = read_manifest(self.folder)
        splits = manifest.get("splits", {})
        if split not in splits:
            raise BadShards(f"{self.folder}: no split `{split}`; it has {', '.join(sorted(splits)) or 'none'}")
        width = int(manifest["token_bytes"])
        self.dtype = np.dtype(f"<u{width}")
        self.maps: list[Any] = []
        self.ends: list[int] = []
        total = 0
        for each in splits[split]["files"]:
            file = self.folder / each["path"]
            size = file.stat().st_size if file.is_file() else -1
            if size != each["tokens"] * width:
                found = "is missing" if size < 0 else f"has {size:,} bytes, {each['tokens'] * width:,} were written"
                raise BadShards(f"{file}: {found}; prepare the data again")
            if each["tokens"]:
                total += each["tokens"]
                self.maps.append(np.memmap(file, self.dtype, mode="r"))
                self.ends.append(total)
        self.tokens = total
        self.count = max(0, (total - extra) // sequence_len)
        self.left_over = total - self.count * sequence_len

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        ids = self.read(index * self.length, self.length + self.extra)
        return {"input_ids": ids, "labels": ids.copy()}

    def read(self, start: int, count: int) -> Any:
        """`count` tokens from position `start` of the split on, as int64 [count]."""
        parts = []
        at = bisect.bisect_right(self.ends, start)
        while count > 0:
            begin = start - (self.ends[at - 1] if at else 0)
            part = self.maps[at][begin : begin + count]
            parts.append(part)
            start, count, at = start + len(part), count - len(part), at + 1
        return np.concatenate(parts).astype(np.int64)


def corrupted(folder: Path) -> list[str]:
    """Paths of files whose content is no longer what was written. Reads everything."""
    bad = []
    for split in read_manifest(folder)["splits"].values():
        for each in split["files"]:
            with (folder / each["path"]).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != each["sha256"]:
                    bad.append(each["path"])
    return bad
