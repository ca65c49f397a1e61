"""Rows of local data -> how many tokens each makes: counted where a byte-level BPE tokenizer lies beside the model,
else guessed from their characters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

# Characters per token where no tokenizer is at hand. English text with Llama's 32,000 words: 4.0 (Touvron et al. 2023
# give none; measured on this project's README, recipes and Alpaca's seed tasks); the smoke profile's 2,048 words: 2.7.
CHARACTERS = 4.0
TINY_CHARACTERS = 2.7
# What a chat template adds to each message: role, begin and end.
PER_MESSAGE = 5
# larger tokenizers split text by rules of their own, and take longer to read than a plan may
_LARGEST = 1_000_000
# GPT-2's pre-tokenizer (openai/gpt-2, encoder.py) in the standard library's words for letters and digits
_WORDS = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+",
)


@dataclass(frozen=True, slots=True)
class Counter:
    """`count` gives the tokens of a text; `render` a conversation's text, None without a template."""

    count: Callable[[str], int]
    render: Callable[[list[Any]], str] | None
    exact: bool


@cache
def counter_for(folder: Path | None, tiny: bool) -> Counter:
    """With the tokenizer and template in `folder`, where they are of the kind that can be read here."""
    tokenizer = _read_tokenizer(folder / "tokenizer.json") if folder is not None else None
    if folder is None or tokenizer is None:
        each = TINY_CHARACTERS if tiny else CHARACTERS
        return Counter(lambda text: round(len(text) / each), None, exact=False)
    return Counter(tokenizer, _read_template(folder / "chat_template.jinja"), exact=True)


def sequences(row: Mapping[str, Any], counter: Counter, field: str = "text") -> list[int]:
    """Tokens of each sequence that a row makes: two of a preference pair, else one."""
    prompt = next((row[k] for k in ("messages", "prompt", "instruction", "input", "question") if row.get(k)), "")
    if "chosen" in row and "rejected" in row:
        return [_tokens(_joined(prompt, row[side]), counter) for side in ("chosen", "rejected")]
    if "completion" in row and "label" in row:
        return [_tokens(_joined(prompt, row["completion"]), counter)]
    if isinstance(row.get(field), str):
        return [counter.count(row[field]) + 1]  # and the end
    conversation = row.get("messages") or row.get("conversations")
    return [_tokens(conversation if isinstance(conversation, list) else list(_texts(row)), counter)]


def _joined(prompt: Any, answer: Any) -> list[Any]:
    """A whole conversation holds its prompt already."""
    if isinstance(answer, list) and len(answer) > 1:
        return answer
    before = prompt if isinstance(prompt, list) else [prompt]
    return [*before, *(answer if isinstance(answer, list) else [answer])]


def _tokens(messages: list[Any], counter: Counter) -> int:
    plain = all(isinstance(m, dict) and isinstance(m.get("content"), str) and "role" in m for m in messages)
    if counter.render is not None and plain:
        return counter.count(counter.render(messages))
    return sum(counter.count(text) + PER_MESSAGE for text in _texts(messages))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        spoken = value.get("content", value.get("value"))
        yield from _texts(spoken if spoken is not None else list(value.values()))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _read_template(file: Path) -> Callable[[list[Any]], str] | None:
    """As transformers renders it: sandboxed, blocks trimmed."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(file.read_text())
    except (OSError, ValueError, TemplateError):
        return None

    def render(messages: list[Any]) -> str:
        try:
            return template.render(messages=messages, add_generation_prompt=False, bos_token="", eos_token="")
        except (TemplateError, TypeError, ValueError, KeyError):
            return " ".join(_texts(messages))

    return render


@cache
def _read_tokenizer(file: Path) -> Callable[[str], int] | None:
    try:
        if file.stat().st_size > _LARGEST:
            return None
        given = json.loads(file.read_text())
        before, model = given.get("pre_tokenizer") or {}, given["model"]
        if model["type"] != "BPE" or before.get("type") != "ByteLevel" or given.get("normalizer"):
            return None
        pairs = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
        special = [t["content"] for t in given.get("added_tokens") or ()]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _bpe({pair: rank for rank, pair in enumerate(pairs)}, special)


def _bpe(ranks: Mapping[tuple[str, ...], int], special: list[str]) -> Callable[[str], int]:
    """Sennrich et al. 2016 (arXiv:1508.07909) over bytes: of all neighbours the pair learned first is joined, until
    none is left."""
    letters = _byte_letters()
    apart = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True)))) if special else None

    @cache
    def word(text: str) -> int:
        parts = [letters[b] for b in text.encode("utf-8", "replace")]
        while len(parts) > 1:
            rank, at = min((ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts)))
            if rank == len(ranks):
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return len(parts)

    def count(text: str) -> int:
        found = len(apart.findall(text)) if apart else 0
        pieces = apart.split(text) if apart else [text]
        return found + sum(word(w) for piece in pieces for w in _WORDS.findall(piece))

    return count


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: printable ones stand for themselves, the others for letters from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(b if b in printable else next(spare)) for b in range(256)]
