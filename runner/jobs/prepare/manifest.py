"""What was done to the data, with counts that must add up: steps, removals and their reasons, files and hashes."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .problem import Problem

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A step as it was counted: what it was given and passed on, in documents and in bytes of text, what it removed,
    by reason, and how many more documents it made by cutting. Bytes of tokens are not known before there are any."""

    step: str
    documents_in: int
    documents_out: int
    bytes_in: int
    bytes_out: int
    removed: dict[str, int] = field(default_factory=dict)
    cut: int = 0

    def row(self) -> dict[str, Any]:
        found = {k: getattr(self, k) for k in ("step", "documents_in", "documents_out", "bytes_in", "bytes_out")}
        found["removed"] = dict(sorted(self.removed.items()))
        return {**found, "cut": self.cut} if self.cut else found


def reconcile(entries: list[Entry], tokenized: int) -> None:
    """Raises Problem where a document was lost or counted twice: in a step, between two, or on the way to tokens."""
    for entry in entries:
        gone = sum(entry.removed.values())
        if entry.documents_in + entry.cut != entry.documents_out + gone:
            raise _unequal(
                f"`{entry.step}` was given {entry.documents_in + entry.cut:,} documents, "
                f"passed on {entry.documents_out:,} and removed {gone:,}"
            )
    for before, after in pairwise(entries):
        if (before.documents_out, before.bytes_out) != (after.documents_in, after.bytes_in):
            raise _unequal(
                f"`{before.step}` passed on {before.documents_out:,} documents ({before.bytes_out:,} bytes), "
                f"`{after.step}` was given {after.documents_in:,} ({after.bytes_in:,} bytes)"
            )
    if entries and entries[-1].documents_out != tokenized:
        raise _unequal(
            f"`{entries[-1].step}` passed on {entries[-1].documents_out:,} documents, {tokenized:,} have tokens"
        )


def with_tokens(entries: list[Entry], tokens: int, counted: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """The entries as the manifest has them, with the tokens that each step was given and passed on, reckoned back from
    the end: `counted` are documents, bytes and tokens of what a step removed, where that was kept.

    Above a step that changes texts (C4's drops lines), and one whose removals were not kept, they are not known.
    Raises Problem where what was kept is not what was removed.
    """
    rows: list[dict[str, Any]] = []
    left: int | None = tokens
    for entry in reversed(entries):
        row = {**entry.row(), "tokens_out": left}
        kept, gone = counted.get(entry.step), sum(entry.removed.values())
        if kept is not None and kept["documents"] != gone:
            raise _unequal(
                f"`{entry.step}` removed {gone:,} documents, {kept['documents']:,} are in removed/{entry.step}"
            )
        same = entry.bytes_in - entry.bytes_out == (kept["bytes"] if kept else 0)
        if entry is entries[0]:
            left = None if gone or entry.cut else left  # rows without text, or pieces of a text, are no tokens' in
        elif left is not None and same and (kept is not None or not gone):
            left += kept["tokens"] if kept else 0
        else:
            left = None
        rows.append({**row, "tokens_in": left})
    return rows[::-1]


def _unequal(what: str) -> Problem:
    return Problem(
        f"the counts don't add up: {what}",
        "nothing was published; remove the run's `work` folder and run it again, and if it comes back, tell us",
    )


def refuse_empty(entries: list[Entry]) -> None:
    """Raises Problem where nothing was read, or nothing is left."""
    if entries[0].documents_in == 0:
        raise Problem("the source is empty: no row was read", "check `source`, `split`, `glob_pattern` and `limit`")
    if entries[-1].documents_out == 0:
        worst = max(entries, key=lambda e: sum(e.removed.values()))
        reason = max(worst.removed, key=lambda r: worst.removed[r])
        raise Problem(
            f"nothing is left: `{worst.step}` removed {sum(worst.removed.values()):,} of {entries[0].documents_in:,} "
            f"documents, most for `{reason}`",
            f"loosen `{worst.step}`" if worst.step != "read" else "check `text_key` and `sample_rate`",
        )


def refuse_missing_split(found: set[str], wanted: tuple[str, ...], documents: int) -> None:
    """Raises Problem where a split that was asked for got no document."""
    for split in wanted:
        if split not in found:
            raise Problem(
                f"no document fell into the split `{split}`, of {documents:,} in all",
                "prepare more documents, cut them smaller with `document_chars`, or change `validation_fraction`",
            )


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_shard(folder: Path, name: str, token_bytes: int, eos: int) -> dict[str, Any]:
    """One token file: tokens, documents, hashes. Raises Problem where it disagrees with its index of document ends."""
    file, index = folder / name, folder / f"{name}.index"
    ends = np.fromfile(index, dtype="<u8")
    size = file.stat().st_size
    if size % token_bytes or size // token_bytes != (int(ends[-1]) if len(ends) else 0):
        raise _unequal(
            f"{file} holds {size / token_bytes:,.1f} tokens, its index ends at {ends[-1] if len(ends) else 0:,}"
        )
    tokens = np.memmap(file, dtype=f"<u{token_bytes}", mode="r")
    if not (tokens[(ends - 1).astype(np.int64)] == eos).all():
        raise _unequal(f"{file} has a document that the end token does not close")
    return {
        "path": name,
        "tokens": size // token_bytes,
        "documents": len(ends),
        "sha256": sha256(file),
        "index": f"{name}.index",
        "index_sha256": sha256(index),
    }


def write_json(file: Path, value: Any) -> None:
    """Whole or not at all."""
    draft = file.with_name(f".{file.name}")
    with draft.open("w", encoding="utf-8") as out:
        json.dump(value, out, indent=1, ensure_ascii=False)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
