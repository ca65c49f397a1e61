"""Which documents go where, by their content alone: stable when data are added, the same for equal documents."""

import hashlib
import re
from collections.abc import Iterator

SPLITS = ("train", "validation")
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")


def draw(seed: int, use: str, text: str) -> float:
    """A number in [0, 1) from the content: for equal `seed`, `use` and text the same on any machine."""
    digest = hashlib.blake2b(f"{seed}\0{use}\0".encode() + text.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big") / 2**64


def split_of(text: str, seed: int, fraction: float) -> str:
    """`validation` for about `fraction` of all distinct documents, else `train`."""
    return SPLITS[1] if draw(seed, "split", text) < fraction else SPLITS[0]


def sampled(text: str, seed: int, rate: float) -> bool:
    """Whether a document is in the sample; a larger rate keeps all that a smaller one kept."""
    return draw(seed, "sample", text) < rate


def cut(text: str, chars: int) -> Iterator[str]:
    """Pieces of `chars` characters or less, ended after a blank line where there is one in the second half, else after
    a line, else anywhere. Put together they are the text again."""
    at = 0
    while len(text) - at > chars:
        window = text[at : at + chars]
        ends = [m.end() for m in _PARAGRAPH.finditer(window, chars // 2) if m.end() < chars]
        line = window.rfind("\n", chars // 2) + 1
        size = ends[-1] if ends else line or chars
        yield text[at : at + size]
        at += size
    if at < len(text):
        yield text[at:]


def share(total: int, tasks: int, rank: int) -> int:
    """How many of `total` fall to one of `tasks`; the first take one more."""
    return total // tasks + (rank < total % tasks)
