"""Token ids and which of them are learned -> text in runs, token by token, and what each learned run ends with."""

from collections.abc import Iterator, Sequence
from typing import Any


def part(tokenizer: Any, name: str, ids: Sequence[int], learned: Sequence[bool], ends: set[int]) -> dict[str, Any]:
    """`ids` and `learned` are of one length; `ends` are the tokens that end a turn."""
    ids, learned = [int(i) for i in ids], [bool(x) for x in learned]
    return {
        "name": name,
        "ids": ids,
        "tokens": [_token(tokenizer, i) for i in ids],
        "learned": learned,
        "runs": list(_runs(tokenizer, ids, learned)),
        "ends": list(_ends(tokenizer, ids, learned, ends)),
    }


def _token(tokenizer: Any, token: int) -> str:
    return str(tokenizer.convert_ids_to_tokens(token))


def _borders(learned: list[bool]) -> Iterator[tuple[int, int]]:
    start = 0
    for i in range(1, len(learned) + 1):
        if i == len(learned) or learned[i] != learned[start]:
            yield start, i
            start = i


def _runs(tokenizer: Any, ids: list[int], learned: list[bool]) -> Iterator[dict[str, Any]]:
    """A run's text is what it adds to the text before it: decoded alone, it would lose its first space."""
    before = ""
    for start, end in _borders(learned):
        upto = _text(tokenizer, ids[:end])
        text = upto[len(before) :] if upto.startswith(before) else _text(tokenizer, ids[start:end])
        yield {"text": text, "start": start, "learned": learned[start]}
        before = upto


def _text(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _ends(tokenizer: Any, ids: list[int], learned: list[bool], ends: set[int]) -> Iterator[dict[str, Any]]:
    """Of each learned run the token that ends its turn, and whether it is learned: the run's last token, or the one
    behind it where that is a special token. `by` is None where neither is."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values()) | ends
    for start, end in _borders(learned):
        if not learned[start]:
            continue
        inside = next((i for i in range(end - 1, max(start, end - 4) - 1, -1) if ids[i] in ends), None)
        if inside is not None:
            yield {"by": _token(tokenizer, ids[inside]), "learned": True}
        elif end < len(ids) and ids[end] in special:
            yield {"by": _token(tokenizer, ids[end]), "learned": False}
        else:
            yield {"by": None, "learned": False}
