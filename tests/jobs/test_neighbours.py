"""Passages behind which chunks are learned: found by what stands before, never of the document itself."""

from __future__ import annotations

import numpy as np
import pytest

from runner.jobs.trainer.neighbours import cut, nearest, rows
from runner.jobs.trainer.settings import BadSettings

SIZE = 4
# tokens 10 to 13 are rare, and what follows them is told in two documents; 1 to 4 are everywhere
FIRST = [1, 2, 10, 11, 20, 21, 22, 23, 1, 2]
SECOND = [10, 11, 3, 4, 20, 22, 21, 23]
OTHERS = [[1, 2, 3, 30 + n, 4, 3, 2, 50 + n] for n in range(30)]


def test_chunks_are_whole_and_know_their_document() -> None:
    chunks = cut([FIRST, [1, 2], SECOND], SIZE)
    assert chunks.owner.tolist() == [0, 0, 2, 2]
    assert chunks.tokens[1].tolist() == FIRST[4:8]


def test_what_is_found_is_of_another_document_and_comes_with_what_follows() -> None:
    known = cut([FIRST, SECOND, *OTHERS], SIZE)
    made = rows(known, known, True, "neighbour", 0)
    assert made[0] == (SECOND + FIRST[:4], FIRST[4:8])
    assert made[1] == (FIRST[:8] + SECOND[:4], SECOND[4:])


def test_a_chunk_itself_has_no_part_in_what_is_found_for_it() -> None:
    known = cut([FIRST, SECOND, *OTHERS], SIZE)
    for held in ([10, 11, 1, 1, 7, 7, 7, 7], [10, 11, 1, 1, 31, 32, 33, 34]):
        ((before, learned),) = rows(cut([held], SIZE), known, False, "neighbour", 0)
        assert learned == held[4:]
        assert before[8:] == held[:4]
        assert before[:8] in (FIRST[:8], SECOND)


def test_the_best_of_bm25_by_hand() -> None:
    """The first two passages have token 9 once; the second has 8 too, which is rarer. The other asks from it."""
    others = [[60 + n, 100 + n, 140 + n, 180 + n] for n in range(40)]
    passages = np.array([[9, 1, 2, 3], [9, 8, 2, 3], [1, 2, 3, 4], *others])
    owner = np.arange(len(passages))
    found = nearest(np.array([[9, 8, 1, 1], [9, 8, 1, 1]]), passages, np.array([-1, 1]), owner, 0)
    assert found.tolist() == [1, 0]


def test_the_controls_have_the_same_chunks() -> None:
    known = cut([FIRST, SECOND, *OTHERS], SIZE)
    made = {source: rows(known, known, True, source, 0) for source in ("neighbour", "random", "none")}
    for source, length in (("random", 3 * SIZE), ("none", SIZE)):
        assert [learned for _, learned in made[source]] == [learned for _, learned in made["neighbour"]]
        assert {len(before) for before, _ in made[source]} == {length}
    documents = [FIRST[:8], SECOND, *OTHERS]
    passages = [before[: 2 * SIZE] for before, _ in made["random"]]
    assert all(passage in documents for passage in passages)
    assert all(passage != own for passage, own in zip(passages, documents, strict=True))
    assert len({tuple(passage) for passage in passages}) > len(passages) / 3


def test_texts_that_have_no_others_are_refused() -> None:
    alone = cut([FIRST], SIZE)
    with pytest.raises(BadSettings, match=r"set a smaller `context\.chunk_size`"):
        rows(alone, alone, True, "neighbour", 0)
