"""Texts -> chunks, each behind what was found for it in the training texts: RETRO's neighbours, put into the context.

A row is a found passage, the chunk before, and the chunk that is learned, of which alone the loss is taken. What is
looked for is what the chunk before says (Borgeaud et al. 2022; Ram et al. 2023), since a search by the chunk itself
would tell the model what comes. It is found by BM25 over tokens, with what follows it there, and never in the document
itself. `from: random` puts any such passage in its place, `from: none` nothing: the same chunks, in the same order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .settings import BadSettings

CHUNK = 64  # tokens, when the recipe does not say
K1 = 0.9  # passages are of one length, so that BM25's other constant has no part
COMMON = 0.1  # of a token that more chunks than this share have, nothing is learnt of what they are about
AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of some documents, in order; `owner` is the document of each."""

    tokens: Any  # [chunks, size] int64
    owner: Any  # [chunks] int64


def cut(documents: list[list[int]], size: int) -> Chunks:
    """Whole chunks alone: what is left at a document's end is not used."""
    found = [np.asarray(ids[: len(ids) // size * size], np.int64).reshape(-1, size) for ids in documents]
    owner = np.concatenate([np.full(len(each), at) for at, each in enumerate(found)]) if found else np.zeros(0, int)
    return Chunks(np.concatenate(found) if found else np.zeros((0, size), np.int64), owner.astype(np.int64))


def rows(asked: Chunks, known: Chunks, same: bool, source: str, seed: int) -> list[tuple[list[int], list[int]]]:
    """(what stands before, what is learned) of every chunk of `asked` but the first of a document. `known` are the
    training texts' chunks, the same as `asked` where `same`. Raises BadSettings."""
    at = np.flatnonzero(asked.owner[1:] == asked.owner[:-1])  # a chunk that another follows
    # a passage is a chunk that has one behind it, too
    starts = np.flatnonzero(known.owner[1:] == known.owner[:-1])
    if not len(at) or len(np.unique(known.owner[starts])) < 2:
        raise BadSettings("too few or too short texts for passages of others: set a smaller `context.chunk_size`")
    own = asked.owner[at] if same else np.full(len(at), -1)
    if source == "none":
        before: list[list[int]] = [[] for _ in at]
    else:
        find = nearest if source == "neighbour" else drawn
        picked = starts[find(asked.tokens[at], known.tokens[starts], own, known.owner[starts], seed)]
        before = [[*known.tokens[n], *known.tokens[n + 1]] for n in picked]
    return [
        ([*map(int, [*passage, *asked.tokens[n]])], [*map(int, asked.tokens[n + 1])])
        for passage, n in zip(before, at, strict=True)
    ]


def drawn(queries: Any, passages: Any, own: Any, owner: Any, seed: int) -> Any:
    """[queries] places of passages, of other documents, any as likely."""
    draw = np.random.default_rng(seed)
    picked = draw.integers(len(passages), size=len(queries))
    while (wrong := np.flatnonzero(owner[picked] == own)).size:
        picked[wrong] = draw.integers(len(passages), size=wrong.size)
    return picked


def nearest(queries: Any, passages: Any, own: Any, owner: Any, seed: int) -> Any:
    """[queries] places of the passages with the highest BM25, of other documents; of equal ones the first."""
    weights, kept = _weights(passages)
    picked = np.zeros(len(queries), np.int64)
    for first in range(0, len(queries), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        scores = (_counts(queries[part], len(kept)).minimum(1) @ weights.T).toarray()
        scores[own[part][:, None] == owner[None, :]] = -1
        picked[part] = scores.argmax(1)
    return picked


def _weights(passages: Any) -> tuple[Any, Any]:
    """BM25's weight of each token (column) in each passage (row), all of one length; which columns are not common."""
    size = int(passages.max()) + 1
    counts = _counts(passages, size)
    having = np.asarray((counts > 0).sum(0)).ravel()
    idf = np.log(1 + (len(passages) - having + 0.5) / (having + 0.5)) * (having <= COMMON * len(passages))
    weights = counts.tocsr()
    weights.data = weights.data * (K1 + 1) / (weights.data + K1)
    return weights.multiply(idf[None, :]).tocsr(), idf > 0


def _counts(tokens: Any, size: int) -> Any:
    from scipy.sparse import coo_matrix

    known = tokens < size
    at, _ = np.nonzero(known)
    ones = np.ones(len(at), np.float32)
    return coo_matrix((ones, (at, tokens[known])), shape=(len(tokens), size)).tocsr()
