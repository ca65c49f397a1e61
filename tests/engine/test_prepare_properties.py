"""What holds of any corpus, by hypothesis: nothing lost, nothing twice, nothing on both sides, order of no matter."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.engines import jobs_dir
from runner.engines.environment import ensure, environment
from runner.jobs.shards import Shards
from tests.engine.preparing import corpus, prepare, sentences
from tests.engine.stand_ins import nightly

Answer = dict[str, list[str]]
# runs a corpus through the steps that `keys` ask for, in a folder of its own
Run = Callable[[list[str], str], tuple[Path, Answer]]
SOME = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
KEYS = "vocab_size: 260\nvalidation_fraction: 0.3\nworkers: 2\ntasks: 2\nseed: 5\nexact_dedup: true\n"
# of what JSON can carry, and not blank
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda text: text.strip())
# repeats are what deduplication is about; some twenty fixed ones see to it that both splits have documents
CORPUS = st.lists(WORDS, min_size=1, max_size=25).flatmap(
    lambda texts: st.lists(st.sampled_from(texts), max_size=15).map(lambda again: [*texts, *again, *FIXED])
)
FIXED = [f"document number {n}" for n in range(24)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    env = environment("datatrove")
    ensure(env, lambda progress: None)
    root = tmp_path_factory.mktemp("properties")
    worker = subprocess.Popen(
        [env.python, str(Path(__file__).with_name("prepare_worker.py"))],
        env={**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    count = 0

    def prepared(documents: list[str], keys: str) -> tuple[Path, Answer]:
        nonlocal count
        count += 1
        folder = root / str(count)
        source = corpus(folder / "corpus", documents, files=2)
        made = prepare(env, folder, f"source: {source}\n{keys}")
        print(made.path, file=worker.stdin, flush=True)
        assert worker.stdout is not None
        answer = json.loads(worker.stdout.readline())
        assert "problem" not in answer, answer
        return made.path, answer["texts"]

    yield prepared
    worker.stdin.close()
    worker.wait(timeout=30)


@SOME
@given(documents=CORPUS)
def test_every_distinct_document_comes_out_once_and_on_one_side(run: Run, documents: list[str]) -> None:
    path, texts = run(documents, KEYS)
    assert Counter(texts["train"]) + Counter(texts["validation"]) == Counter(set(documents))
    assert not set(texts["train"]) & set(texts["validation"])
    for split in texts:
        shards = Shards(path / "output/dataset", split, 7)
        assert len(shards) * 7 + shards.left_over == sum(len(text.encode()) + 1 for text in texts[split])


@SOME
@given(documents=CORPUS, seed=st.integers(0, 1000))
def test_order_and_repetition_change_nothing(run: Run, documents: list[str], seed: int) -> None:
    """Exact deduplication keeps one of each, whichever, so the same corpus in another order is the same dataset; and
    one that was deduplicated is left as it is."""
    _, first = run(documents, KEYS)
    mixed = documents[:]
    random.Random(seed).shuffle(mixed)
    _, second = run(mixed, KEYS)
    _, third = run([*first["train"], *first["validation"]], KEYS)
    for again in (second, third):
        assert {split: Counter(texts) for split, texts in again.items()} == {s: Counter(t) for s, t in first.items()}


@SOME
@given(documents=CORPUS, more=st.lists(WORDS, min_size=1, max_size=10))
def test_more_data_moves_nothing_to_the_other_side(run: Run, documents: list[str], more: list[str]) -> None:
    _, small = run(documents, KEYS)
    _, large = run([*more, *documents], KEYS)
    for split, texts in small.items():
        assert set(texts) <= set(large[split])


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(seeds=st.lists(st.integers(0, 10_000), min_size=5, max_size=12, unique=True), shuffle=st.integers(0, 1000))
@nightly
def test_near_duplicates_leave_one_of_each_cluster_in_any_order(run: Run, seeds: list[int], shuffle: int) -> None:
    """Which one MinHash keeps depends on the order of documents (datatrove joins the smaller cluster to the larger);
    how many it keeps does not, and what it kept is left as it is."""
    keys = KEYS + "minhash_dedup: true\n"
    own = [sentences(seed, 12) for seed in seeds]
    near = [text.replace(text.split()[7], "zebra", 1) for text in own]
    documents = [*own, *near, *(sentences(20_000 + n, 3) for n in range(24))]
    _, first = run(documents, keys)
    mixed = documents[:]
    random.Random(shuffle).shuffle(mixed)
    _, second = run(mixed, keys)
    kept = [*first["train"], *first["validation"]]
    assert len(kept) == len(second["train"]) + len(second["validation"])
    assert all(sum(text in kept for text in pair) == 1 for pair in zip(own, near, strict=True))
    _, third = run(kept, keys)
    assert Counter([*third["train"], *third["validation"]]) == Counter(kept)
