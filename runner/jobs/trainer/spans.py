"""Span corruption (Raffel et al. 2020, section 3.1.4; t5/data/preprocessors.py): which tokens go, and what is left.

A row of `raw` tokens loses `noise_density` of them in spans of `mean_span` on average. In its place each span leaves a
sentinel in the input; the target tells each sentinel and what it stands for. Both end with the end token.
"""

from typing import Any

import numpy as np


def lengths(inputs: int, noise_density: float, mean_span: float) -> tuple[int, int]:
    """How many raw tokens make an input of at most `inputs` tokens, and the length of the target: (raw, targets)."""
    raw = 2
    while sizes(raw + 1, noise_density, mean_span)[0] <= inputs:
        raw += 1
    return raw, sizes(raw, noise_density, mean_span)[1]


def sizes(raw: int, noise_density: float, mean_span: float) -> tuple[int, int]:
    """Tokens of the input and of the target that `raw` tokens become, sentinels and end tokens included."""
    noise, spans = counts(raw, noise_density, mean_span)
    return raw - noise + spans + 1, noise + spans + 1


def counts(raw: int, noise_density: float, mean_span: float) -> tuple[int, int]:
    """Tokens that are taken out of `raw`, and in how many spans; at least one of each, and one token stays."""
    noise = min(max(round(raw * noise_density), 1), raw - 1)
    spans = min(max(round(noise / mean_span), 1), noise, raw - noise)
    return noise, spans


def noise_mask(raw: int, noise_density: float, mean_span: float, draw: np.random.Generator) -> Any:
    """[raw] booleans, True where a token is taken out: spans of random lengths, never two side by side, and the first
    token stays."""
    noise, spans = counts(raw, noise_density, mean_span)
    taken, kept = partition(noise, spans, draw), partition(raw - noise, spans, draw)
    runs = np.stack([kept, taken], axis=1).reshape(-1)
    return np.repeat(np.tile([False, True], spans), runs)


def partition(total: int, parts: int, draw: np.random.Generator) -> Any:
    """[parts] positive integers that add up to `total`, every way as likely."""
    cuts = np.sort(draw.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def corrupt(tokens: Any, mask: Any, sentinels: Any, end: int) -> tuple[Any, Any]:
    """(input, target) of one row; `sentinels` are ids in the order of their use."""
    return _marked(tokens, mask, sentinels, end), _marked(tokens, ~mask, sentinels, end)


def _marked(tokens: Any, gone: Any, sentinels: Any, end: int) -> Any:
    """Each run of tokens that are `gone` as one sentinel."""
    first = gone & ~np.concatenate([[False], gone[:-1]])
    out = np.where(first, sentinels[np.maximum(np.cumsum(first) - 1, 0)], tokens)
    return np.concatenate([out[~gone | first], [end]])
