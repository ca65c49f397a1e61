"""The parts of data preparation that need no engine: splitting, the library's documents, counts that must add up."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.jobs.prepare.manifest import (
    Entry,
    describe_shard,
    reconcile,
    refuse_empty,
    refuse_missing_split,
    with_tokens,
)
from runner.jobs.prepare.problem import Problem
from runner.jobs.prepare.split import cut, sampled, share, split_of
from runner.jobs.prepare.stdlib import documents, modules
from runner.jobs.shards import Shards

DOCUMENT = st.lists(st.integers(4, 60_000), max_size=40)
TEXT = st.text(min_size=1, max_size=400)


@given(TEXT, st.integers(64, 200))
def test_pieces_are_the_text_again(text: str, chars: int) -> None:
    text = text * 3
    pieces = list(cut(text, chars))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= chars for piece in pieces)


def test_a_cut_falls_after_a_blank_line() -> None:
    speech = "FIRST CITIZEN:\nBefore we proceed any further, hear me speak.\n\n"
    pieces = list(cut(speech * 40, 500))
    assert all(piece.endswith("\n\n") for piece in pieces)
    assert all(piece.startswith("FIRST") for piece in pieces)


@given(st.lists(TEXT, unique=True, max_size=30), st.lists(TEXT, max_size=30), st.integers(0, 2**32 - 1))
def test_a_split_is_by_content_and_stays_when_data_are_added(old: list[str], new: list[str], seed: int) -> None:
    before = {text: split_of(text, seed, 0.3) for text in old}
    after = {text: split_of(text, seed, 0.3) for text in [*new, *old]}
    assert all(after[text] == split for text, split in before.items())
    assert all(split_of(text, seed, 0.0) == "train" for text in old)


def test_fractions_are_what_was_asked_for() -> None:
    texts = [str(n) for n in range(20_000)]
    held = sum(split_of(text, 42, 0.1) == "validation" for text in texts)
    assert abs(held - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5
    small, large = ({t for t in texts if sampled(t, 42, rate)} for rate in (0.05, 0.2))
    assert small < large
    assert {t for t in texts if split_of(t, 1, 0.1) == "validation"} != {
        t for t in texts if split_of(t, 2, 0.1) == "validation"
    }


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_shares_add_up(total: int, tasks: int) -> None:
    shares = [share(total, tasks, rank) for rank in range(tasks)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


MODULE = '''"""What it is for."""
import os


class A:
    """An A."""

    def one(self):
        """One."""
        return 1

    def two(self):
        """Only this."""


def three(): "beside its def"
'''


def test_docstrings_are_cut_from_their_module(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(MODULE)
    (name, source), *docs = documents("m.py", file)
    assert name == "m.py"
    assert dict(docs) == {
        "m.py#": "What it is for.",
        "m.py#A": "An A.",
        "m.py#A.one": "One.",
        "m.py#A.two": "Only this.",
    }
    assert not any(text in source for _, text in docs)
    assert "beside its def" in source
    ast.parse(source)


@pytest.mark.slow
def test_every_module_of_the_library_gives_python_again() -> None:
    found = modules()
    assert len(found) > 100
    assert [name for name, _ in found] == sorted(name for name, _ in found)
    for name, file in found[::60]:
        (_, source), *docs = documents(name, file)
        ast.parse(source)
        assert all(text for _, text in docs)


def ledger(*steps: tuple[str, int, int, dict[str, int]]) -> list[Entry]:
    return [Entry(name, given, left, given * 10, left * 10, removed) for name, given, left, removed in steps]


def test_counts_that_add_up_pass() -> None:
    reconcile(ledger(("length", 10, 7, {"too_short": 3}), ("exact_dedup", 7, 6, {"duplicate": 1})), 6)


@pytest.mark.parametrize(
    ("entries", "tokenized", "words"),
    [
        (ledger(("length", 10, 7, {"too_short": 2})), 7, "`length` was given 10 documents, passed on 7 and removed 2"),
        (ledger(("length", 10, 7, {"x": 3}), ("exact_dedup", 8, 8, {})), 8, "`length` passed on 7 documents"),
        (ledger(("length", 10, 7, {"x": 3})), 6, "`length` passed on 7 documents, 6 have tokens"),
    ],
)
def test_counts_that_do_not_are_named(entries: list[Entry], tokenized: int, words: str) -> None:
    with pytest.raises(Problem, match="the counts don't add up") as caught:
        reconcile(entries, tokenized)
    assert words in str(caught.value)
    assert "nothing was published" in caught.value.help


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6), st.integers(0, 500))
def test_a_chain_of_filters_always_adds_up_and_one_lost_document_never_does(
    steps: list[tuple[int, int]], left: int
) -> None:
    entries: list[Entry] = []
    documents = left + sum(a + b for a, b in steps)
    for i, (a, b) in enumerate(steps):
        after = documents - a - b
        entries.append(Entry(f"s{i}", documents, after, documents, after, {"a": a, "b": b}))
        documents = after
    reconcile(entries, left)
    lost = [*entries[:-1], Entry("last", entries[-1].documents_in, left - 1, 0, 0, entries[-1].removed)]
    with pytest.raises(Problem):
        reconcile(lost, left - 1)


def test_tokens_are_reckoned_back_as_far_as_they_are_known() -> None:
    entries = [
        Entry("read", 6, 5, 500, 500, {"empty": 1}),
        Entry("length", 5, 4, 500, 400, {"too_long": 1}),
        Entry("exact_dedup", 4, 3, 400, 330, {"duplicate": 1}),
    ]
    kept = {
        "exact_dedup": {"documents": 1, "bytes": 70, "tokens": 20},
        "length": {"documents": 1, "bytes": 100, "tokens": 30},
    }
    rows = with_tokens(entries, 90, kept)
    assert [(r["tokens_in"], r["tokens_out"]) for r in rows] == [(None, 140), (140, 110), (110, 90)]
    rows = with_tokens(entries, 90, {"exact_dedup": kept["exact_dedup"]})
    assert [(r["tokens_in"], r["tokens_out"]) for r in rows] == [(None, None), (None, 110), (110, 90)]
    changed = with_tokens(entries, 90, {**kept, "exact_dedup": {"documents": 1, "bytes": 60, "tokens": 20}})
    assert changed[2]["tokens_in"] is None, "texts were changed on the way"
    with pytest.raises(Problem, match=r"removed 1 documents, 2 are in removed/exact_dedup"):
        with_tokens(entries, 90, {"exact_dedup": {"documents": 2, "bytes": 70, "tokens": 20}})


def test_nothing_is_said_before_a_person_waits_for_it() -> None:
    with pytest.raises(Problem, match="the source is empty"):
        refuse_empty([Entry("read", 0, 0, 0, 0)])
    with pytest.raises(Problem, match=r"`length` removed 9 of 10 documents, most for `too_long`"):
        refuse_empty(ledger(("read", 10, 9, {"empty": 1}), ("length", 9, 0, {"too_long": 8, "too_short": 1})))
    with pytest.raises(Problem, match="no document fell into the split `validation`, of 3 in all"):
        refuse_missing_split({"train"}, ("train", "validation"), 3)


def shard(folder: Path, name: str, texts: list[list[int]], width: int, eos: int) -> dict[str, Any]:
    closed = [[*ids, eos] for ids in texts]
    ends = np.cumsum([len(ids) for ids in closed]).astype("<u8")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.array([i for ids in closed for i in ids], dtype=f"<u{width}").tofile(folder / name)
    ends.tofile(folder / f"{name}.index")
    return describe_shard(folder, name, width, eos)


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(
        st.lists(st.lists(st.integers(4, 60_000), max_size=40), min_size=1, max_size=12), min_size=1, max_size=5
    ),
    length=st.integers(1, 33),
    width=st.sampled_from([2, 4]),
    extra=st.integers(0, 1),
)
def test_blocks_and_what_is_left_over_are_all_tokens_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[list[int]]], length: int, width: int, extra: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    told = [shard(folder, f"train/{i:05d}.ds", texts, width, 2) for i, texts in enumerate(files)]
    split = {"files": told, "tokens": sum(f["tokens"] for f in told), "documents": sum(f["documents"] for f in told)}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "token_bytes": width, "splits": {"train": split}}))
    whole = [i for texts in files for ids in texts for i in [*ids, 2]]
    shards = Shards(folder, "train", length, extra=extra)
    blocks = [shards[n]["input_ids"].tolist() for n in range(len(shards))]
    assert [i for block in blocks for i in block[:length]] == whole[: len(shards) * length]
    assert len(shards) * length + shards.left_over == len(whole) == split["tokens"]
    assert all(block == whole[n * length : n * length + length + extra] for n, block in enumerate(blocks))
    assert split["documents"] == sum(map(len, files))


def test_a_shard_that_is_not_what_its_index_says(tmp_path: Path) -> None:
    shard(tmp_path, "a.ds", [[5, 6], [7]], 2, 2)
    with pytest.raises(Problem, match="the end token does not close"):
        describe_shard(tmp_path, "a.ds", 2, 7)
    with (tmp_path / "a.ds").open("ab") as out:
        out.write(b"\0\0")
    with pytest.raises(Problem, match=r"holds 6\.0 tokens, its index ends at 5"):
        describe_shard(tmp_path, "a.ds", 2, 2)
