"""N-grams of evaluation sets, in the index that datatrove's decontamination filter reads.

Its own indexer asks for lighteval, and so for torch, even where the texts come from elsewhere; the hashing, the
normalisation and the file are datatrove's.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig
from datatrove.utils.hashing import create_hash_func
from datatrove.utils.text import ngrams, simplify_text
from datatrove.utils.word_tokenizers import load_word_tokenizer

from .problem import Problem
from .sources import Broken, data_files, hub_problem, raw_rows

FOLDER = "work/decontaminate"
COUNTS = "counts.json"


def ngram_config(config: dict[str, Any]) -> NGramsDecontConfig:
    return NGramsDecontConfig(n_grams=config["decontaminate_n_grams"])


def build_index(config: dict[str, Any]) -> None:
    """One file of hashes for each evaluation set, and how many there are. Raises Problem for a set that gives none."""
    settings = ngram_config(config)
    words, hashed = load_word_tokenizer(config["language"]), create_hash_func(settings.hash_config)
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for number, entry in enumerate(config["decontaminate"]):
        name = f"{number:02d}-" + entry["path"].rstrip("/").rsplit("/", 1)[-1]
        found: set[int] = set()
        rows = 0
        for text in _texts(entry):
            rows += 1
            tokens = words.word_tokenize(simplify_text(text, settings.norm_config))
            found |= {hashed(" ".join(gram)) for gram in ngrams(tokens, settings.n_grams)}
        if not found:
            raise Problem(
                f"{entry['path']}: {rows:,} rows, and no text of {settings.n_grams} words to look for",
                "name the columns that hold its text with `keys`, or set `decontaminate_n_grams` lower",
            )
        np.array(sorted(found), dtype=settings.hash_config.np_descr).tofile(folder / f"{name}.index.hashes")
        counts[name] = {"path": entry["path"], "rows": rows, "n_grams": len(found)}
    (folder / COUNTS).write_text(json.dumps(counts))


def _texts(entry: dict[str, Any]) -> Iterator[str]:
    """The text of each row: that of `keys`, or of every column that holds text, put together."""
    keys = entry.get("keys")
    for row in _rows(entry):
        if isinstance(row, str):
            yield row
            continue
        missing = [k for k in keys or () if k not in row]
        if missing:
            raise Problem(
                f"{entry['path']}: no column `{missing[0]}`; it has " + ", ".join(f"`{k}`" for k in row),
                "set `keys` to those that hold its text",
            )
        yield " ".join(part for key in keys or row for part in _strings(row[key]))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _strings(below)


def _rows(entry: dict[str, Any]) -> Iterator[dict[str, Any] | str]:
    path = entry["path"]
    if path.startswith("/"):
        files = data_files(Path(path), None)
        if not files:
            raise Problem(f"{path}: no data files in it", "it takes .jsonl, .json, .parquet and .txt")
        for file in files:
            for found in raw_rows(file):
                if isinstance(found, Broken):
                    raise Problem(str(found), "mend it, or take it out of `decontaminate`")
                yield found[1]
        return
    from datasets import load_dataset

    options = {k: entry[k] for k in ("name", "split", "revision") if entry.get(k)}
    try:
        yield from load_dataset(path, **options)
    except Exception as error:
        problem = hub_problem(error, path, entry)
        if problem is None:
            raise
        raise problem from error
