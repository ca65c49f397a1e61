"""`runner rag` before anything starts: what it refuses."""

from __future__ import annotations

from tests.conftest import Bench


def test_only_recipes_of_kind_rag_answer(shipped_bench: Bench) -> None:
    done = shipped_bench.call("rag", "phase4/dpo-13b", "--profile", "smoke")
    assert done.returncode == 1
    assert "error[R341]: `phase4/dpo-13b` is of kind dpo, and has no documents to answer from" in done.stderr


def test_an_index_comes_first(shipped_bench: Bench) -> None:
    done = shipped_bench.call("rag", "phase5/rag-smoke-docs", "--profile", "smoke")
    assert done.returncode == 1
    assert "error[R340]: `phase5/rag-smoke-docs` (smoke) has no index yet" in done.stderr
    assert "`make recipe R=phase5/rag-smoke-docs PROFILE=smoke` makes it" in done.stderr
