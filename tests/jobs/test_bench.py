"""What a benchmark makes of its requests: percentiles, goodput, prompts, saturation, caches, the table."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "runner" / "jobs"))

from bench import prometheus, spec, table  # noqa: E402
from bench.client import in_transformers_words  # noqa: E402
from bench.measures import Request, figures, goodput, money, percentile, within  # noqa: E402
from bench.offline import engine_arguments  # noqa: E402
from bench.prompts import clean_tokens, file_prompts, random_prompts  # noqa: E402
from bench.saturation import saturate  # noqa: E402

pytestmark = pytest.mark.slow

TIMES = st.floats(1e-4, 1e3)
REQUESTS = st.lists(
    st.builds(
        lambda ttft, rest, tokens: Request(ttft, ttft + rest, tokens, (rest,) if tokens > 1 else ()),
        TIMES,
        TIMES,
        st.integers(1, 4096),
    ),
    min_size=1,
    max_size=50,
)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(np.percentile(values, share)), rel=1e-9, abs=1e-6)


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 50))


@given(REQUESTS, st.floats(0.1, 1e4), st.integers(0, 10**6))
def test_figures_hold_together(requests: list[Request], seconds: float, tokens_in: int) -> None:
    found = figures(requests, seconds, tokens_in, {"ttft_ms": 500.0}, 8.0)
    assert found["ttft_p50_ms"] <= found["ttft_p95_ms"] <= found["ttft_p99_ms"]
    assert found["ttft_p50_ms"] <= found["e2e_p50_ms"]
    assert found["output_tokens_per_s"] <= found["total_tokens_per_s"]
    assert 0 <= found["goodput_per_s"] <= found["requests_per_s"]
    # dollars a million tokens x tokens a second for a dollar an hour: an hour has 3,600 seconds
    assert found["tokens_per_s_per_usd_hour"] * found["usd_per_million_tokens"] == pytest.approx(1e6 / 3600)


def test_the_first_token_is_not_in_the_time_per_output_token() -> None:
    assert Request(1.0, 3.0, 5).tpot == 0.5
    assert Request(1.0, 1.0, 1).tpot is None


@given(REQUESTS, TIMES, TIMES)
def test_goodput_falls_with_a_stricter_objective(requests: list[Request], one: float, two: float) -> None:
    strict, loose = sorted((one, two))
    assert goodput(requests, 2.0, {"ttft_ms": strict}) <= goodput(requests, 2.0, {"ttft_ms": loose})
    both = {"ttft_ms": loose, "e2e_ms": strict}
    assert goodput(requests, 2.0, both) <= goodput(requests, 2.0, {"e2e_ms": strict})
    assert goodput(requests, 2.0, {}) == len(requests) / 2


def test_an_answer_of_one_token_meets_any_time_per_token() -> None:
    assert within(Request(0.1, 0.1, 1), {"tpot_ms": 1})
    assert not within(Request(0.1, 0.3, 2), {"tpot_ms": 100})


def test_nothing_costs_nothing() -> None:
    assert money(100.0, 0.0) == {"tokens_per_s_per_usd_hour": None, "usd_per_million_tokens": None}
    assert money(0.0, 8.0)["usd_per_million_tokens"] is None
    assert money(1000.0, 3.6)["usd_per_million_tokens"] == pytest.approx(1.0)


@given(st.floats(0.25, 8), st.floats(0.5, 2000), st.floats(0.1, 0.9))
def test_saturation_is_found_within_a_doubling(start: float, capacity: float, drop: float) -> None:
    """Up to its capacity a server answers all in time, above it less and less."""

    def serve(rate: float) -> float:
        return rate if rate <= capacity else capacity * drop * capacity / rate

    found = saturate(serve, start, 1024.0)
    assert list(found.rates) == [start * 2**i for i in range(len(found.rates))]
    if start <= capacity < 512:
        assert found.saturated
        assert capacity / 2 < found.best < capacity * 2
    if capacity > 1024:
        assert not found.saturated
        assert found.best == found.rates[-1] > 512


def test_saturation_ends_where_nothing_is_answered_in_time() -> None:
    asked: list[float] = []
    found = saturate(lambda rate: asked.append(rate) or 0.0, 4.0, 64.0)  # type: ignore[func-returns-value]
    assert (asked, found.saturated, found.best) == ([4.0], True, 4.0)


PAGE = """# HELP vllm:prefix_cache_queries_total Prefix cache queries.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="a b"} 200.0
vllm:prefix_cache_queries_total{engine="1",model_name="a b"} 56.0
vllm:prefix_cache_hits_total{engine="0",model_name="a b"} 1.6e+01
vllm:prefix_cache_hits_created{engine="0",model_name="a b"} 1.7e+09
"""


def test_a_counter_is_summed_over_its_labels_and_nothing_else() -> None:
    assert prometheus.parse(PAGE, "vllm:prefix_cache_queries_total") == 256
    assert prometheus.parse(PAGE, "vllm:prefix_cache_hits_total") == 16
    assert prometheus.parse(PAGE, "vllm:prefix_cache_hits") is None
    after, before = prometheus.Cached(300, 16), prometheus.Cached(100, 6)
    assert after.since(before).share == pytest.approx(0.05)
    assert prometheus.Cached(0, 0).share == 0


def test_an_engine_without_such_a_counter_says_nothing() -> None:
    assert prometheus.cached("transformers", ["http://127.0.0.1:1"]) is None
    assert prometheus.cached("vllm", ["http://127.0.0.1:1"]) is None  # nobody listens


class Letters:
    """A tokenizer of single letters and one pair, which merges when its halves meet; `<s>` goes before every text."""

    all_special_ids = (0,)
    words = ("<s>", *"abcdefgh", "ab")

    def __len__(self) -> int:
        return len(self.words)

    def decode(self, ids: list[int]) -> str:
        return "".join(self.words[i] for i in ids)

    def batch_decode(self, rows: list[list[int]]) -> list[str]:
        return [self.decode(row) for row in rows]

    def __call__(self, text: str | list[str], add_special_tokens: bool = True) -> Any:
        one = isinstance(text, str)
        rows = [self._ids(t, add_special_tokens) for t in ([text] if isinstance(text, str) else text)]
        return type("Encoded", (), {"input_ids": rows[0] if one else rows})()

    def _ids(self, text: str, special: bool) -> list[int]:
        ids = [0] if special else []
        while text:
            word = "ab" if text.startswith("ab") else text[0]
            ids.append(self.words.index(word))
            text = text[len(word) :]
        return ids


@pytest.mark.parametrize("length", [2, 8, 33])
def test_prompts_are_as_long_as_asked_and_all_different(length: int) -> None:
    tokenizer = Letters()
    found = random_prompts(tokenizer, 40, length, seed=3)
    assert {len(tokenizer(text).input_ids) for text in found} == {length}
    assert found == random_prompts(tokenizer, 40, length, seed=3)
    assert found != random_prompts(tokenizer, 40, length, seed=4)
    if length > 16:
        assert len(set(found)) == 40
    assert 0 not in clean_tokens(tokenizer)


def test_prompts_of_a_file_are_used_once(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "abcdefgh"}, {"text": "cc"}, {"conversations": [{"value": "dddd"}, {"value": "e"}]}]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert file_prompts(Letters(), file, 0, 2, 4) == ["abcd", "cc"]
    assert file_prompts(Letters(), file, 2, 1, 4) == ["ddd"]
    with pytest.raises(ValueError, match="3 prompts, and 4 are needed"):
        file_prompts(Letters(), file, 2, 2, 4)


def test_transformers_is_asked_in_its_own_words() -> None:
    asked = {
        "model": "m",
        "prompt": "a",
        "max_tokens": 7,
        "ignore_eos": True,
        "repetition_penalty": 1.0,
        "stream": True,
    }
    spoken = in_transformers_words(asked)
    assert set(spoken) == {"model", "prompt", "max_tokens", "stream", "generation_config"}
    settings = json.loads(spoken["generation_config"])
    assert settings["min_new_tokens"] == settings["max_new_tokens"] == 7


def test_the_engines_arguments_of_a_server() -> None:
    argv = ["vllm", "serve", "/m", "--host", "127.0.0.1", "--port", "1", "--served-model-name", "a", "b"]
    argv += ["--dtype", "bfloat16", "--enforce-eager", "--shutdown-timeout", "20", "--max-model-len", "512"]
    assert engine_arguments(argv) == [
        "--model", "/m", "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "512",
    ]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> spec.Bench:
    monkeypatch.chdir(tmp_path)
    cells = [
        {"id": f"c{n}", "mode": "concurrency", "concurrency": n, "input_len": 32, "output_len": 16, "num_prompts": 8}
        for n in (1, 4)
    ]
    given = {"endpoints": [], "objective": {}, "warmup": 0, "most_cached": 0.01, "dataset": None, "box": "cpu"}
    endpoint = {"name": "a", "engine": "vllm", "model": "m", "tokenizer": "m", "spec": "a.json", "url": None}
    Path("bench.json").write_text(
        json.dumps({**given, "price_usd_per_hour": 0, "endpoints": [{**endpoint, "cells": cells}]})
    )
    return spec.read(Path("bench.json"))


def test_a_finished_cell_stays_and_a_failed_one_is_tried_again(run: spec.Bench) -> None:
    [endpoint] = run.endpoints
    spec.write_result("a", "c1", {"status": spec.FINISHED})
    spec.write_result("a", "c4", {"status": spec.FAILED, "reason": "warm"})
    assert [cell["id"] for cell in endpoint.pending] == ["c4"]
    spec.result_file("a", "c1").write_text('{"status": "fini')  # of a disk that was full
    assert [cell["id"] for cell in endpoint.pending] == ["c1", "c4"]


def test_a_failed_cell_has_no_figures_in_the_table(run: spec.Bench) -> None:
    requests = [Request(random.random(), 2.0, 5, (0.1,)) for _ in range(8)]
    for cell, status in (("c1", spec.FINISHED), ("c4", spec.FAILED)):
        found = figures(requests, 1.0, 10)
        spec.write_result("a", cell, {"status": status, "reason": "a|b", "figures": found, "failed_requests": 0})
    Path("run.json").write_text(json.dumps({"predicted": {"cells": {"a/c1": {"ttft_ms": 12.0, "why": ""}}}}))
    first, second = table.write(run)
    assert first["output_tokens_per_s"] == 40
    assert first["predicted_ttft_ms"] == 12
    assert first["predicted_why_not"] is None
    assert (second["status"], second["output_tokens_per_s"]) == (spec.FAILED, None)
    kept = json.loads(Path("output/table.json").read_text())
    assert kept["rows"][0] == {**first}
    assert set(kept["columns"]) == set(first)
    assert Path("output/table.csv").read_text().count("\n") == 3
    assert "4 at a time: a|b" in Path("output/table.md").read_text()
