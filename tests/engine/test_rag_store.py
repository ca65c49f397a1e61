"""An index of kind `rag`: what is in it, where it lies, and what is left of it after kills, changes and moves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import ensure, environment
from tests.engine.rag_folder import ENV, GUIDE, HERE, Worker, fill, written
from tests.engine.stand_ins import nightly


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    env = environment("rag")
    ensure(env, lambda progress: None)
    made = Worker(env.python)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors: each text of this module is computed once."""
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def index(worker: Worker, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """rag.json of a small folder with every format, ingested; four of its files are broken."""
    folder = tmp_path_factory.mktemp("index")
    fill(folder / "docs")
    config = written(folder, cache)
    done = worker.rag("ingest", config)
    assert done.returncode == 0, done.stderr
    return config


def test_what_is_broken_is_named_and_the_rest_goes_in(worker: Worker, index: Path) -> None:
    report = json.loads((index.parent / "ingest.json").read_text())
    aside = {each["uri"]: each["reason"] for each in report["set_aside"]}
    assert set(aside) == {"docs/half.pdf", "docs/latin.txt", "docs/picture.dat", "docs/rows.jsonl:3"}
    assert "UTF-8" in aside["docs/latin.txt"]
    assert "PDF" in aside["docs/half.pdf"]
    assert "no JSON" in aside["docs/rows.jsonl:3"]
    facts = worker.ask("facts", config=str(index))
    assert facts["known"] == sorted(
        ["b1", "b2", "docs/deep/er/birds.py", "docs/guide.md", "docs/notes.txt", "docs/page.html", "docs/paper.pdf"]
    )
    counts = facts["counts"]
    assert counts["passages"] == counts["vectors"] == counts["lexical"] == report["passages"] > 10
    assert facts["lexicon"] == facts["passages"]


def test_it_finds_by_meaning_by_words_and_by_metadata(worker: Worker, index: Path) -> None:
    config = str(index)
    found = worker.ask("search", config=config, of=5)
    assert found["found"][0][0] == found["asked"]
    assert found["found"][0][1] == pytest.approx(1, abs=1e-4)
    scores = [score for _, score in found["found"]]
    assert scores == sorted(scores, reverse=True)
    german = worker.ask("search", config=config, where={"lang": "de"})
    assert [meta["lang"] for meta in german["meta"]] == ["de"]
    both = worker.ask("search", config=config, where={"lang": ["de", "en"], "team": "zoo"})
    assert sorted(meta["lang"] for meta in both["meta"]) == ["de", "en"]
    assert worker.ask("search", config=config, where={"lang": "fr"})["found"] == []
    assert worker.ask("search", config=config, where={"lang": []})["found"] == []
    assert "Whales" in worker.ask("full_text", config=config, query="Which mammal is a whale?")[0]
    assert worker.ask("full_text", config=config, query="whales", where={"format": "code"}) == []
    assert worker.ask("full_text", config=config, query="'); drop table passage; --") == []


def test_unchanged_is_skipped_changed_is_replaced_deleted_disappears(
    worker: Worker, index: Path, tmp_path: Path, cache: Path
) -> None:
    shutil.copytree(index.parent / "docs", tmp_path / "docs")
    config = written(tmp_path, cache)
    for file in ("half.pdf", "latin.txt", "picture.dat"):
        (tmp_path / "docs" / file).unlink()
    worker.ask("ingested", config=str(config))
    first = worker.ask("facts", config=str(config))
    report = worker.ask("ingested", config=str(config))
    assert (report["unchanged"], report["added"], report["changed"], report["embedded"]) == (7, 0, 0, 0)
    assert worker.ask("facts", config=str(config)) == first
    (tmp_path / "docs/guide.md").write_text(GUIDE.replace("zebra", "okapi"))
    (tmp_path / "docs/page.html").unlink()
    (tmp_path / "docs/new.txt").write_text("The heron stands still.")
    done = worker.rag("ingest", config)
    assert "1 added, 1 changed, 1 removed, 5 unchanged" in done.stdout
    after = worker.ask("facts", config=str(config))
    assert after["generation"] > first["generation"]
    assert set(after["known"]) == set(first["known"]) - {"docs/page.html"} | {"docs/new.txt"}
    assert worker.ask("full_text", config=str(config), query="zebra oven flour") == []
    assert "okapi" in worker.ask("full_text", config=str(config), query="okapi")[0]
    worker.ask("closed")
    # what was built step by step is what is built at once
    fresh = written(tmp_path / "fresh", cache, sources=[{"path": str(tmp_path / "docs"), "meta": {"team": "zoo"}}])
    worker.ask("ingested", config=str(fresh))
    assert worker.ask("facts", config=str(fresh))["digest"] == after["digest"]
    worker.ask("closed")


def test_what_cannot_be_read_today_is_not_taken_for_deleted(worker: Worker, tmp_path: Path, cache: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "rows.jsonl").write_text('{"_id": "x", "text": "The heron stands still."}\n')
    (docs / "one.txt").write_text("A badger digs.")
    config = written(tmp_path, cache)
    assert worker.ask("ingested", config=str(config))["documents"] == 2
    (docs / "rows.jsonl").unlink()
    (docs / "rows.jsonl").mkdir()  # a name that is listed as a folder: nothing of it is there
    (docs / "one.txt").write_bytes(b"\xff\xfe\xfd")
    report = worker.ask("ingested", config=str(config))
    assert (report["removed"], report["documents"], len(report["set_aside"])) == (1, 1, 1)
    (docs / "rows.jsonl").rmdir()
    (docs / "rows.jsonl").symlink_to("rows.jsonl")  # can't be opened, not even by root
    report = worker.ask("ingested", config=str(config))
    assert (report["removed"], report["documents"]) == (0, 1)
    docs.rename(tmp_path / "away")
    assert "not there" in worker.raw("ingested", config=str(config))["problem"]
    assert worker.ask("facts", config=str(config))["known"] == ["docs/one.txt"]
    worker.ask("closed")


def test_many_documents_are_read_by_several_processes(worker: Worker, tmp_path: Path, cache: Path) -> None:
    rows = [json.dumps({"_id": str(n), "title": f"T{n}", "text": f"Entry {n}."}) for n in range(200)]
    rows[70] = "broken"
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    config = written(tmp_path, cache, sources=[{"path": "rows.jsonl"}])
    report = worker.ask("ingested", config=str(config))
    assert (report["documents"], report["passages"], report["added"]) == (199, 199, 199)
    assert [each["uri"] for each in report["set_aside"]] == ["rows.jsonl:71"]
    assert worker.ask("ingested", config=str(config))["unchanged"] == 199
    worker.ask("closed")


@pytest.mark.fault("an ingest is killed in a transaction", "the index as it was; the same index after it is run again")
def test_killed_in_a_transaction_and_run_again_it_is_as_if_it_had_not_been(
    worker: Worker, index: Path, tmp_path: Path, cache: Path
) -> None:
    config = written(tmp_path, cache, sources=[{"path": str(index.parent / "docs"), "meta": {"team": "zoo"}}])
    for nth in (1, 2):
        killed = subprocess.run([worker.python, HERE / "rag_worker.py", "die", config, str(nth)], env=ENV, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        counts = worker.ask("facts", config=str(config))["counts"]
        assert counts["passages"] == counts["vectors"] == counts["lexical"]
        assert 0 <= counts["documents"] < 7
    done = worker.rag("ingest", config)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "ingest.json").read_text())["unchanged"] == counts["documents"]
    here, there = (worker.ask("facts", config=str(each)) for each in (config, index))
    assert here["digest"] == there["digest"]
    worker.ask("closed")


def test_killed_from_outside_no_server_is_left_behind(worker: Worker, tmp_path: Path) -> None:
    """With an empty cache of vectors it is still embedding when the kill comes."""
    config = written(tmp_path, tmp_path / "cache", sources=[{"stdlib": True, "include": ["json*", "wave"]}])
    begun = subprocess.Popen([worker.python, "-m", "rag", "ingest", config], env=ENV, stdout=subprocess.DEVNULL)
    pid = tmp_path / "index/postgres/data/postmaster.pid"
    until = time.monotonic() + 60
    while not pid.exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1)
    begun.kill()
    begun.wait()
    until = time.monotonic() + 20
    while pid.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not pid.exists()


def test_one_ingest_at_a_time_and_one_spec(worker: Worker, index: Path, cache: Path) -> None:
    assert "another ingest" in worker.ask("held", config=str(index))
    before = index.read_text()
    try:
        written(index.parent, cache, chunking={"splitter": "auto", "chunk_size": 32, "chunk_overlap": 8})
        done = worker.rag("ingest", index)
    finally:
        index.write_text(before)
    assert done.returncode == 1
    assert done.stderr.startswith("error: index 'phase5/test' was made with chunking")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["a missing source", "a missing model", "no server", "no store"])
def test_a_mistake_is_told_in_one_line(worker: Worker, tmp_path: Path, cache: Path, how: str) -> None:
    changed: dict[str, Any] = {
        "a missing source": {"sources": [{"path": "nowhere"}]},
        "a missing model": {"embedding": {"model": "nobody/no-model"}},
        "no server": {"store": {"kind": "postgres", "url": "postgresql://me:secret@127.0.0.1:1/db"}},
        "no store": {"store": {"kind": "cupboard"}},
    }[how]
    (tmp_path / "docs").mkdir()
    done = worker.rag("ingest", written(tmp_path, cache, **changed))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "secret" not in done.stderr + done.stdout


def test_postgres_killed_is_unavailable_and_comes_back(worker: Worker, index: Path) -> None:
    found = worker.ask("outage", config=str(index))
    assert "does not answer" in found["said"]
    assert found["same"]
    assert found["seconds"] < 30


@nightly
def test_moved_from_store_to_store_nothing_is_lost(worker: Worker, index: Path, tmp_path: Path, cache: Path) -> None:
    sources = [{"path": str(index.parent / "docs"), "meta": {"team": "zoo"}}]
    chunking = {"splitter": "auto", "chunk_size": 32, "chunk_overlap": 8, "parent_size": 96}
    config = written(tmp_path, cache, sources=sources, chunking=chunking)
    worker.ask("ingested", config=str(config))
    done = worker.rag("move", config, "--to", "lancedb")
    assert done.returncode == 0, done.stderr
    assert worker.ask("moved", config=str(config), to="qdrant")[:16] in done.stdout
    again = worker.raw("moved", config=str(config), to="qdrant")
    assert again["problem"] == "the index in qdrant isn't empty: remove it first"
    for how in ({}, {"of": 3, "where": {"format": ["text", "pdf"]}}, {"of": 2, "where": {"lang": "de"}}):
        first, *others = (
            worker.ask("search", config=str(config), kind=kind, **how) for kind in ("postgres", "lancedb", "qdrant")
        )
        assert first["shown"]
        assert len(first["found"]) == len(first["meta"]) > 0
        for other in others:
            assert [id_ for id_, _ in other["found"]] == [id_ for id_, _ in first["found"]]
            for (_, a), (_, b) in zip(first["found"], other["found"], strict=True):
                assert a == pytest.approx(b, abs=1e-4)
            assert {**other, "found": 0} == {**first, "found": 0}
    facts = [worker.ask("facts", config=str(config), kind=kind) for kind in ("postgres", "lancedb", "qdrant")]
    assert len({each["digest"] for each in facts}) == 1
    worker.ask("closed")
    # and each takes changes as the first does
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.txt").write_text("The heron stands still.")
    for kind in ("lancedb", "qdrant"):
        written(tmp_path, cache, chunking=chunking, store={"kind": kind, "url": None})
        report = worker.ask("ingested", config=str(config))
        assert [report[part] for part in ("documents", "passages", "added", "changed", "removed")] == [1, 1, 1, 0, 7]
        counts = worker.ask("facts", config=str(config), kind=kind)["counts"]
        assert [counts[part] for part in ("documents", "passages", "vectors", "lexical")] == [1, 1, 1, 1]
    worker.ask("closed")


def test_a_server_by_its_url_holds_several_indexes(worker: Worker, index: Path, tmp_path: Path, cache: Path) -> None:
    worker.ask("facts", config=str(index))  # its server is up, and taken for one by its URL
    sockets = (index.parent / "index/postgres/data/postmaster.pid").read_text().splitlines()[4]
    url = f"postgresql://postgres@/postgres?host={sockets}"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.txt").write_text("The heron stands still.")
    config = written(tmp_path, cache, name="phase5/other", store={"kind": "postgres", "url": url})
    done = worker.rag("ingest", config)
    assert done.returncode == 0, done.stderr
    assert worker.ask("facts", config=str(config))["known"] == ["docs/one.txt"]
    assert len(worker.ask("facts", config=str(index))["known"]) == 7
    found = worker.ask("away", config=str(config), server=str(index))
    assert len(found["said"]) == 3
    assert all("does not answer" in each for each in found["said"])
    assert max(found["waits"]) < 10
    assert found["same"]
    assert not (tmp_path / "index/postgres").exists()
    worker.ask("closed")


def test_vectors_are_those_of_sentence_transformers_and_are_kept(worker: Worker, tmp_path: Path) -> None:
    some = ["A heron.", "", "The same.", "The same.", "word " * 900, "Line\nbreaks and \u65e5\u672c\u8a9e.", "short"]
    found = worker.ask("embedding", texts=some, cache=str(tmp_path))
    assert found["apart"] < 1e-5
    assert found["length"] < 1e-5
    assert found["cached"]


def test_lancedb_finds_through_its_graph_what_is_near(worker: Worker, tmp_path: Path) -> None:
    done = subprocess.run(
        [environment("rag").python, HERE / "rag_graph_facts.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(jobs_dir())},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["graphs"] == ["IvfHnswSq"]
    assert found["recall"] > 0.9
    assert "d7" not in found["left"]
    assert len(found["left"]) == 10
    assert found["back"] == "d7"
