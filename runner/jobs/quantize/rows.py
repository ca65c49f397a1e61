"""Rows of text: of a dataset of the hub, a local file, or shards that a `prepare` recipe left."""

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards import MANIFEST, BadShards, Shards, read_manifest

from .problem import Problem

LOADERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".txt": "text"}
# tokens of one text that is cut from shards
PIECE = 2048


def texts(source: dict[str, Any], tokenizer: Any, count: int | None, seed: int | None) -> list[str]:
    """Up to `count` texts (None: all), drawn by `seed` or, without one, from the start. Raises Problem."""
    if (Path(source["path"]) / MANIFEST).is_file():
        return _of_shards(source, tokenizer, count, seed)
    found = []
    for row in _drawn(_rows(source), seed):
        text = _text(row, source, tokenizer)
        if text.strip():
            found.append(text)
        if len(found) == count:
            break
    if not found:
        raise Problem(f"`{source['path']}` has no text in `{_field(source)}`")
    return found


def answers(source: dict[str, Any], tokenizer: Any, count: int | None) -> list[tuple[list[int], int]]:
    """The tokens of each conversation that ends in an answer, and how many of them come before that answer."""
    found = []
    for row in _drawn(_rows(source), None):
        turns = row.get(source["field_messages"], [])
        if turns and turns[-1]["role"] == "assistant":
            asked = templated(tokenizer, turns[:-1], add_generation_prompt=True)
            whole = templated(tokenizer, turns)
            ids, before = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (whole, asked))
            if whole.startswith(asked) and len(ids) > len(before):
                found.append((ids, len(before)))
        if len(found) == count:
            break
    if not found:
        raise Problem(f"`{source['path']}` has no answers in `{source['field_messages']}`")
    return found


def templated(tokenizer: Any, turns: list[dict[str, Any]], **more: Any) -> str:
    if not tokenizer.chat_template:
        raise Problem("the model's tokenizer has no chat template", "use `format` or `field` instead")
    found: str = tokenizer.apply_chat_template(turns, tokenize=False, **more)
    return found


def _drawn(rows: Any, seed: int | None) -> Iterator[dict[str, Any]]:
    order = list(range(len(rows)))
    if seed is not None:
        random.Random(seed).shuffle(order)  # noqa: S311 - made to be the same every time
    for index in order:
        yield rows[index]


def _rows(source: dict[str, Any]) -> Any:
    from datasets import load_dataset

    path, split = source["path"], source.get("split") or "train"
    more = {key: source[key] for key in ("name", "revision", "data_files") if source.get(key)}
    try:
        if Path(path).suffix in LOADERS and Path(path).is_file():
            return load_dataset(LOADERS[Path(path).suffix], data_files=path, split=split)
        return load_dataset(path, split=split, **more)
    except (OSError, ValueError) as error:
        raise Problem(f"can't read `{path}`: {str(error).splitlines()[0]}") from error


def _field(source: dict[str, Any]) -> str:
    return str(source.get("field_messages") or source.get("format") or source.get("field") or "text")


def _text(row: dict[str, Any], source: dict[str, Any], tokenizer: Any) -> str:
    try:
        if source.get("field_messages"):
            return templated(tokenizer, row[source["field_messages"]])
        if source.get("format"):
            return re.sub(r"\{(\w+)\}", lambda match: str(row[match[1]]), source["format"])
        return str(row[source.get("field") or "text"] or "")
    except KeyError as missing:
        raise Problem(f"`{source['path']}` has no column {missing}; it has {', '.join(row)}") from None


def _of_shards(source: dict[str, Any], tokenizer: Any, count: int | None, seed: int | None) -> list[str]:
    """Pieces of the prepared tokens, as text again: the model may have another tokenizer than they were made with."""
    folder = Path(source["path"])
    try:
        wanted = dict(read_manifest(folder)["tokenizer"]["files"])
        shards = Shards(folder, source.get("split") or "train", PIECE)
    except BadShards as bad:
        raise Problem(str(bad)) from None
    made_with = _tokenizer(folder, wanted)
    order = list(range(len(shards)))
    if seed is not None:
        random.Random(seed).shuffle(order)  # noqa: S311 - as above
    if not order:
        raise Problem(f"{folder} holds fewer than {PIECE} tokens")
    return [made_with.decode(shards[index]["input_ids"].tolist()) for index in order[:count]]


def _tokenizer(folder: Path, wanted: dict[str, str]) -> Any:
    """The one that lies beside the shards, where a `prepare` run leaves it; it must be the one that made them."""
    from tokenizers import Tokenizer

    file = folder.parent / "tokenizer" / "tokenizer.json"
    if not file.is_file():
        raise Problem(f"{folder}: the tokenizer that these shards were made with does not lie beside them")
    if hashlib.sha256(file.read_bytes()).hexdigest() != wanted["tokenizer.json"]:
        raise Problem(f"{file} is not the tokenizer that {folder} was made with")
    return Tokenizer.from_file(str(file))
