"""Span corruption: nothing is lost, and every row becomes as long as every other."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runner.jobs.trainer.spans import corrupt, counts, lengths, noise_mask, partition, sizes

END = 1
densities = st.floats(0.05, 0.6)
means = st.floats(1.0, 8.0)
seeds = st.integers(0, 2**32)


def restore(inputs: Any, target: Any, sentinels: Any) -> Any:
    """The raw tokens again, from what `corrupt` made of them."""
    known = {int(s): at for at, s in enumerate(sentinels)}
    pieces: list[list[int]] = []
    for token in target[:-1]:
        if int(token) in known:
            pieces.append([])
        else:
            pieces[-1].append(int(token))
    out: list[int] = []
    for token in inputs[:-1]:
        out += pieces[known[int(token)]] if int(token) in known else [int(token)]
    return np.asarray(out)


@given(raw=st.integers(4, 300), density=densities, mean=means, seed=seeds)
def test_the_target_tells_what_the_input_lacks(raw: int, density: float, mean: float, seed: int) -> None:
    noise, spans = counts(raw, density, mean)
    tokens, sentinels = np.arange(1000, 1000 + raw), np.arange(10, 10 + spans)
    mask = noise_mask(raw, density, mean, np.random.default_rng(seed))
    inputs, target = corrupt(tokens, mask, sentinels, END)
    assert (len(inputs), len(target)) == sizes(raw, density, mean)
    assert mask.sum() == noise
    assert np.array_equal(restore(inputs, target, sentinels), tokens)
    for side in (inputs, target):
        assert side[-1] == END
        assert [t for t in side if t < 1000 and t != END] == list(sentinels), "each sentinel once, in order"


@given(total=st.integers(1, 200), seed=seeds, data=st.data())
def test_a_partition_adds_up(total: int, seed: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, total))
    found = partition(total, parts, np.random.default_rng(seed))
    assert (len(found), found.sum(), found.min() >= 1) == (parts, total, True)


def test_the_papers_own_figures() -> None:
    """568 tokens make an input of 512 and a target of 114 (t5/data/preprocessors.py, random_spans_helper)."""
    assert lengths(512, 0.15, 3.0) == (568, 114)


@given(inputs=st.integers(8, 600), density=densities, mean=means)
def test_an_input_is_as_long_as_it_may_be(inputs: int, density: float, mean: float) -> None:
    raw, _ = lengths(inputs, density, mean)
    assert sizes(raw, density, mean)[0] <= inputs < sizes(raw + 1, density, mean)[0]
