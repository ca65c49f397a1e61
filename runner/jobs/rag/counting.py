"""Messages -> how many tokens the generator's own template makes of them; where nobody can tell, a bound above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Message = dict[str, str]
Count = Callable[[Sequence[Message]], int]
# of a template around each message: names of roles, and the tokens that begin and end a turn
AROUND = 16
PATIENCE_S = 5.0


def bound(messages: Sequence[Message]) -> int:
    """No tokenizer with a byte for its smallest piece makes more tokens than there are bytes."""
    return AROUND + sum(AROUND + len(m["content"].encode()) for m in messages)


def by_folder(folder: Path) -> tuple[Count, tuple[str, ...]] | None:
    """By the tokenizer in a model's folder, and its special tokens; None where there is none, or no chat template."""
    if not (folder / "tokenizer_config.json").is_file():
        return None
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError):  # of a kind that this transformers doesn't know, or with code of its own
        return None
    if not tokenizer.chat_template:
        return None

    def count(messages: Sequence[Message]) -> int:
        text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return count, tuple(dict.fromkeys([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]))


def by_server(address: str, model: str, key: str) -> Count | None:
    """By vLLM's own `/tokenize`, which lies beside `/v1`; None where there is none, as behind a proxy."""
    import httpx

    url = f"{address.rstrip('/').removesuffix('/v1')}/tokenize"
    client = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S)

    def count(messages: Sequence[Message]) -> int:
        try:
            asked = client.post(url, json={"model": model, "messages": list(messages), "add_generation_prompt": True})
            return int(asked.raise_for_status().json()["count"])
        except (httpx.HTTPError, KeyError, TypeError, ValueError):
            return bound(messages)

    try:
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "a"}]}
        int(client.post(url, json=body).raise_for_status().json()["count"])
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return None
    return count
