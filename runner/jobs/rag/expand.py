"""A passage that was found -> the surroundings that the model is shown: neighbours, or the passage it was cut from."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Passage, Store


def window(store: Store, passage: Passage, reach: int) -> tuple[str, tuple[int, int]]:
    """Its text with `reach` passages before and after, and the places in the document that it covers."""
    near = store.around(passage, reach, reach) or [passage]
    return joined(near), (near[0].start, near[-1].end)


def joined(passages: Sequence[Passage]) -> str:
    """Passages of one document in order; what two of them share is told once."""
    text, end = "", None
    for passage in passages:
        whole = len(passage.text) == passage.end - passage.start
        if end is None:
            text = passage.text
        elif whole and passage.start <= end:
            text += passage.text[max(0, end - passage.start) :]
        else:
            text += "\n" + passage.text
        end = max(end or 0, passage.end)
    return text
