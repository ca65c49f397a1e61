"""Text -> shards that jobs/shards.py reads; `text_shards.py shards.json`. Reads only as much as the run will train on.

Documents are tokenized one after the other, each closed by the end token, and written as one file. A folder that is
there is whole, and left as it is.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from transformers import AutoTokenizer

BATCH = 1000


def documents(sources: list[dict[str, Any]]) -> Iterator[str]:
    """The texts of all sources in their order; streamed, so that a large set is fetched only as far as it is read."""
    for source in sources:
        rows = load_dataset(**source["load"], streaming=True)
        field = source["field"]
        for row in rows:
            if field not in row:
                sys.exit(f"BadData: {source['load']['path']}: no column `{field}`; it has {', '.join(sorted(row))}")
            if row[field]:
                yield row[field]


def write(folder: Path, given: dict[str, Any]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(given["tokenizer"])
    end = tokenizer.eos_token_id
    if end is None:
        sys.exit(f"BadData: {given['tokenizer']}: this tokenizer has no end token to close documents with")
    width = 2 if len(tokenizer) <= 2**16 else 4
    texts, count, tokens = documents(given["sources"]), 0, 0
    (folder / "train").mkdir()
    digest = hashlib.sha256()
    with (folder / "train" / "00000.ds").open("wb") as out:
        while tokens < given["tokens"] and (batch := list(islice(texts, BATCH))):
            for ids in tokenizer(batch, add_special_tokens=False)["input_ids"]:
                block = np.asarray([*ids, end], f"<u{width}").tobytes()
                out.write(block)
                digest.update(block)
                count, tokens = count + 1, tokens + len(ids) + 1
                if tokens >= given["tokens"]:
                    break
    if not tokens:
        sys.exit("BadData: no text in `datasets`")
    file = {"path": "train/00000.ds", "tokens": tokens, "documents": count, "sha256": digest.hexdigest()}
    manifest = {
        "format": 1,
        "token_bytes": width,
        "vocab_size": len(tokenizer),
        "eos_token_id": end,
        "splits": {"train": {"documents": count, "tokens": tokens, "files": [file]}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(f"{count:,} documents, {tokens:,} tokens")


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    target = Path(given["to"])
    if (target / "manifest.json").is_file():
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.resolve().parent) as made:
        work = Path(made) / "data"
        work.mkdir()
        write(work, given)
        work.rename(target)


if __name__ == "__main__":
    main()
