"""Fresh prompts of one length for each cell: tokens drawn one by one, so that no two begin alike."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

TRIES = 20


def random_prompts(tokenizer: Any, count: int, length: int, seed: int) -> list[str]:
    """Texts of `length` tokens as the server counts them, what it adds of its own (such as `<s>`) included.

    vLLM's own random dataset takes runs of consecutive token numbers, so that a vocabulary of 32,000 has that many
    prompts in all, and cells of one benchmark share some; then the prefix cache answers.
    """
    draw = random.Random(seed)  # noqa: S311 - to be repeated
    words = clean_tokens(tokenizer)
    return [_one(tokenizer, words, length, draw) for _ in range(count)]


@cache
def clean_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Tokens whose text becomes the same token again; not parts of a character, nor special ones."""
    special = set(tokenizer.all_special_ids)
    ids = [i for i in range(len(tokenizer)) if i not in special]
    texts = tokenizer.batch_decode([[i] for i in ids])
    again = tokenizer(texts, add_special_tokens=False).input_ids
    return tuple(i for i, back in zip(ids, again, strict=True) if back == [i])


def _one(tokenizer: Any, words: tuple[int, ...], length: int, draw: random.Random) -> str:
    """Neighbouring texts may merge into other tokens: what is missing is drawn anew, what is too much is cut off."""
    ids = [draw.choice(words) for _ in range(length)]
    text = ""
    for _ in range(TRIES):
        text = tokenizer.decode(ids)
        missing = length - len(tokenizer(text).input_ids)
        if missing == 0:
            break
        ids = ids[:missing] if missing < 0 else [*ids, *(draw.choice(words) for _ in range(missing))]
    return text


def file_prompts(tokenizer: Any, file: Path, first: int, count: int, length: int) -> list[str]:
    """`count` prompts of a JSON Lines file from the `first` on, each cut to at most `length` tokens. Rows have a
    `prompt`, a `text`, or ShareGPT's `conversations`. Raises ValueError where the file has too few: taken twice, they
    would come out of the prefix cache."""
    with file.open() as lines:
        texts = [_text(json.loads(line)) for line in lines if line.strip()]
    if first + count > len(texts):
        raise ValueError(f"{file.name} has {len(texts)} prompts, and {first + count} are needed: each is used once")
    found = []
    for text in texts[first : first + count]:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        room = length - len(tokenizer("").input_ids)
        found.append(tokenizer.decode(ids[:room]) if len(ids) > room else text)
    return found


def _text(row: dict[str, Any]) -> str:
    if "conversations" in row:
        return str(row["conversations"][0].get("value", ""))
    return str(row.get("prompt", row.get("text", "")))
