"""Retrieval: words, BM25 beside bm25s, fusion, reranking, surroundings; labelled questions and what is measured."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment, ensure, environment
from runner.report.rag_plots import draw

WORKER = Path(__file__).with_name("rag_retrieve_worker.py")


@pytest.fixture(scope="module")
def rag() -> Environment:
    env = environment("rag")
    ensure(env, lambda progress: None)
    return env


def call(rag: Environment, *arguments: str, seed: str = "0", timeout: float = 300) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [rag.python, *arguments],
        env={**env, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def facts(rag: Environment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = call(rag, str(WORKER), str(tmp_path_factory.mktemp("retrieve")))
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    found: dict[str, Any] = json.loads(line[6:])
    return found


def test_identifiers_are_words_as_a_whole_and_in_parts(facts: dict[str, Any]) -> None:
    found = facts["tokenizing"]
    assert found["terms"] == {
        "os.path.join": ["os", "path", "join", "os.path.join"],
        "read_csv": ["read", "csv", "read_csv"],
        "BaseHTTPRequestHandler": ["basehttprequesthandl", "base", "http", "request", "handler"],
        "IL-2": ["il", "2", "il-2"],
        "low-density": ["low", "densiti"],
        "mRNAs": ["mrna"],
        "Sjögren\N{RIGHT SINGLE QUOTATION MARK}s": ["sjogren"],
        "__init__": ["init"],
    }
    assert found["question"] == ["name", "lock"]
    assert found["only common"] == ["what", "is", "it"], "a question of common words alone is still one"
    assert found["no stemmer"].startswith("there is no stemmer 'klingon'; there are ")


def test_bm25_is_that_of_bm25s(facts: dict[str, Any]) -> None:
    assert facts["bm25s"]["furthest"] < 1e-4


def test_each_mode_finds_and_says_how(facts: dict[str, Any]) -> None:
    found = facts["searching"]
    assert found["hybrid"][0] == "sleep"
    assert found["ranks"] == {"dense": 1, "bm25": 1, "hybrid": 1}
    assert found["scores"] == ["bm25", "dense", "hybrid"]
    assert found["one score"] == {"dense": ["dense"], "bm25": ["bm25"]}
    assert set(found["timings"]) == {"embed", "dense", "lexical", "fuse", "fetch", "total"}
    assert found["identifier"] == ["join"]
    assert found["part"] == ["csv"]
    assert found["nothing"] == []
    assert "sleep2" not in found["twice"], "the same text is shown once"
    assert len(found["twice"]) == 5


def test_a_filter_holds_in_every_mode(facts: dict[str, Any]) -> None:
    assert facts["searching"]["where"] == {"hybrid": ["lock", "csv"], "bm25": ["lock"], "dense": ["lock", "csv"]}


def test_a_request_narrows_the_recipes_filter_and_never_widens_it(facts: dict[str, Any]) -> None:
    only = ["sleep"]
    assert facts["narrowing"] == {"all": only, "another kind": only, "short": only, "long": []}


def test_settings_that_make_no_sense_are_told(facts: dict[str, Any]) -> None:
    unknown, mode, *rest = facts["searching"]["refused"]
    assert unknown == "retrieval has no key 'mod'"
    assert mode == "retrieval has no mode 'x': it is one of hybrid, dense, bm25"
    assert rest == ["rewriting and reranking by the generator need a generator, and there is none"] * 2


def test_lists_are_fused_by_rank_or_by_score(facts: dict[str, Any]) -> None:
    assert facts["fusing"]["fused"] == [
        ["b", pytest.approx(2 / 12 + 1 / 11)],
        ["a", pytest.approx(2 / 11)],
        ["c", pytest.approx(1 / 12)],
    ]
    assert facts["fusing"]["scored"] == [
        ["b", pytest.approx(2 * 0.8 + 14 / 30)],
        ["a", pytest.approx(2 * 0.9)],
        ["c", pytest.approx(2 * 0.45 + 3 / 30)],
    ]
    assert facts["fusing"]["even"] == [["c", pytest.approx(0.1 / 30)], ["a", 0.0], ["b", 0.0]]
    assert facts["fusing"]["products"] == [["a", 1.5], ["b", 1.5]], "scores beyond the measure go by the best"
    assert facts["fusing"]["alone"] == [["a", 0.9, {"dense": 1}], ["b", 0.8, {"dense": 2}]]


def test_what_is_deleted_is_never_shown_and_what_is_new_is_found(facts: dict[str, Any]) -> None:
    found = facts["following"]
    assert found["before"][0] == "csv"
    assert "csv" not in found["at once"]
    assert found["later"][0] == "tsv"
    assert found["failed"] == [], "six threads ask while the store changes"


def test_the_language_model_reranks_and_rewrites(facts: dict[str, Any]) -> None:
    found = facts["asking"]
    assert found["turned"] == [found["first"][1], found["first"][0], *found["first"][2:]]
    assert found["reranked"] == 1
    assert found["cut"] == [found["first"][1]]
    assert found["mute"] == found["first"], "words without a number change nothing"
    assert found["questions"] == ["what reads it?", "comma separated table"]
    assert found["found"][0] == "csv"
    assert found["too long"] == ["lock"]
    assert "[1] a lock makes one thread wait" in found["shown"]


def test_surroundings_are_shown_once(facts: dict[str, Any]) -> None:
    found = facts["surroundings"]
    assert all(shown == "" for _, shown in found["plain"])
    assert found["window"]["p0"] == "One is first. Two follows it. "
    assert "p1" not in found["window"], "it is shown with a better one"
    assert found["parent"] == [
        ["p0", "One is first. Two follows it. Three is last. "],
        ["p3", "Four is of another thing."],
    ]
    assert found["joined"], "what neighbours share is told once"


def test_a_cross_encoder_decides_the_order(facts: dict[str, Any]) -> None:
    found = facts["crossing"]
    assert found["stage"]
    assert sorted(found["expected"], reverse=True) == pytest.approx(found["scores"], abs=1e-5)
    assert len(set(found["scores"])) == 3
    assert "can't be loaded" in found["missing"]


def test_measures_are_those_worked_out_by_hand(facts: dict[str, Any]) -> None:
    found = facts["measuring"]["scores"]
    assert found["mrr@3"] == {"q1": 0.5, "q2": 1.0, "q3": 0.0}
    assert found["hit@1"] == {"q1": 0.0, "q2": 1.0, "q3": 0.0}
    assert found["recall@3"] == {"q1": 1.0, "q2": 1.0, "q3": 0.0}
    gained = 2 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg@3"]["q1"] == pytest.approx(gained / (2 + 1 / math.log2(3)))
    assert facts["measuring"]["twice"] == "a document is ranked twice for one question"
    gap = facts["measuring"]["paired"]
    assert gap["low"] < gap["difference"] < gap["high"]
    # 0.1 of spread over 200 questions
    assert gap["high"] - gap["low"] == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(200), rel=0.15)
    assert facts["measuring"]["same"]["low"] == facts["measuring"]["same"]["high"] == 0


def test_beir_folders_are_read_or_refused(facts: dict[str, Any]) -> None:
    found = facts["reading"]
    assert found["every"] == [f"q{n}" for n in range(8)], "a question without an answer is not asked"
    assert found["relevant"] == {"a": 1}
    assert len(found["some"]) == 3
    missing, short, strange = found["problems"]
    assert missing == "F is no BEIR folder: corpus.jsonl is missing"
    assert short == "F/qrels/test.tsv:2: not question, document and grade"
    assert strange.startswith("F: qrels/test.tsv names documents that corpus.jsonl does not have, 'z'")


def test_odd_beir_folders_are_read_as_they_are_meant(facts: dict[str, Any]) -> None:
    found = facts["odd"]
    assert found["texts"] == {"7": "hot leaves", "8": "beans", "q": "Water?"}
    assert found["relevant"] == {"7": {"1": 2, "2": 1}, "8": {"2": 1, "99": 1}, "q": {"1": 1}}
    assert found["groups"] == {"7": "3"}
    assert found["documents"] == 4
    assert all(found["same"].values()), found["same"]
    # a paper without an abstract is found by its title, which is told once
    assert found["indexed"] == [
        ["1", "Of tea", "Of tea"],
        ["2", "", "Coffee"],
        ["30", "", "Cocoa"],
        ["q", "", "Water?"],
    ]
    assert found["searched"] == "Of tea"
    assert (found["year"], found["where"]) == (1900, {}), "a filter of the recipe's own documents is not one of these"
    assert found["found"] == [["1", "2"], ["q", "1", "2"]], (
        "a question is no answer to itself, unless it is labelled so"
    )


def test_mistakes_in_beir_folders_are_told_with_their_place(facts: dict[str, Any]) -> None:
    said = facts["odd"]["problems"]
    assert said.pop("cut off").startswith("F/corpus.jsonl.gz can't be read: ")
    assert said.pop("not packed").startswith("F/corpus.jsonl.gz can't be read: Not a gzipped file")
    assert said.pop("no JSON").startswith("F/corpus.jsonl:1: not JSON: ")
    assert said.pop("Latin").startswith("F/queries.jsonl: not in UTF-8: ")
    assert said == {
        "no such grade": "F/qrels/test.tsv:1: not question, document and grade",
        "in four columns": "F/qrels/test.tsv:1: not question, document and grade",
        "nobody's": "F: no question of queries.jsonl has a relevant document in qrels/test.tsv",
        "nothing above 0": "F: no question of queries.jsonl has a relevant document in qrels/test.tsv",
        "no id": "F/queries.jsonl:1: a row has no `_id`",
        "twice": "F/queries.jsonl:2: a second question has the id 'z'",
        "a list": "F/corpus.jsonl:1: a row is a mapping",
        "no text": "F/queries.jsonl:1: the question '7' has no `text`",
    }


def test_labelled_questions_do_not_give_the_answer_away(facts: dict[str, Any]) -> None:
    found = facts["labelling"]
    assert 500 < found["count"] <= 600
    assert set(found["rules"]) == {"summary", "how", "error", "names"}
    assert found["questions"] > 30
    assert found["known"]
    assert found["named"] == 0, "no word of the name"
    assert found["told"] == 0, "the paragraph that is asked by is taken out"


def test_labelled_questions_are_the_same_every_time(rag: Environment, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "2")):
        done = call(rag, "-m", "rag.labelled", str(tmp_path / name), "--include", "[a-d]*", seed=seed)
        assert done.returncode == 0, done.stderr
    for file in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_short_answers_are_compared_without_what_does_not_count(facts: dict[str, Any]) -> None:
    found = facts["short answers"]
    assert found["plain"] == ["green", "redfox", ""]
    assert found["contained"] == [True, False, False]
    assert found["untold"] == "somewhere: question 'q1' has no `answers` in its metadata to compare with"


def test_a_judge_is_read_by_its_last_word(facts: dict[str, Any]) -> None:
    found = facts["judging"]
    assert found["rows"] == [[1.0, None], [0.5, 0.0], [None, None]]
    assert found["asked"] == 4, "an answer that says it is not in the documents is not judged"
    told = found["all"]
    assert (told["n"], told["abstained"]) == (3, 1)
    assert (told["faithfulness"], told["relevance"], told["relevance_unread"]) == (0.75, 0.0, 1)
    assert told["first_token_ms"]["p50"] == 5.0


CONFIG = {
    "name": "phase5/t",
    "cache": "cache",
    "sources": [{"stdlib": True, "include": ["csv", "heapq", "shutil", "statistics", "tempfile", "textwrap"]}],
    "chunking": {"splitter": "auto", "chunk_size": 128, "chunk_overlap": 16, "parent_size": None},
    "embedding": {"model": "sentence-transformers/all-MiniLM-L6-v2", "max_length": 256},
    "store": {"kind": "postgres", "url": None},
    "retrieval": {"mode": "hybrid", "top_k": 8, "where": {"format": "stdlib"}},
    "evaluation": {
        "questions": "stdlib",
        "k": [1, 10],
        "price_per_hour": 3.6,
        "variants": [
            {"name": "dense", "retrieval": {"mode": "dense"}},
            {"name": "bm25", "retrieval": {"mode": "bm25"}},
            {"name": "parent", "retrieval": {"expand": "parent", "weights": {"bm25": 0.5}}},
        ],
    },
}


@pytest.fixture(scope="module")
def evaluated(rag: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke corpus in PostgreSQL with vectors of all-MiniLM-L6-v2, asked what is made from it."""
    folder = tmp_path_factory.mktemp("evaluated")
    folder.chmod(0o755)
    (folder / "rag.json").write_text(json.dumps(CONFIG))
    done = call(rag, "-m", "rag", "evaluate", str(folder / "rag.json"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def test_variants_are_compared_on_the_same_questions(evaluated: Path) -> None:
    summary = json.loads((evaluated / "results/summary.json").read_text())
    assert [v["name"] for v in summary["variants"]] == ["as written", "dense", "bm25", "parent"]
    hybrid, dense, bm25, _ = (v["metrics"] for v in summary["variants"])
    asked = summary["questions"]
    assert asked["n"] == sum(asked["groups"].values()) > 10
    assert summary["index"]["documents"] == asked["documents"] > 50
    # over so few questions no more can be said than that fusing does no harm
    assert hybrid["ndcg@10"] > max(dense["ndcg@10"], bm25["ndcg@10"]) - 0.05
    assert hybrid["hit@10"] > 0.7
    for each in summary["variants"]:
        assert each["metrics"]["hit@1"] == each["metrics"]["ndcg@1"]
        assert 0 <= each["metrics"]["recall@1"] <= each["metrics"]["recall@10"] <= 1
        total = each["latency_ms"]["total"]
        assert 0 < total["p50"] <= total["p95"] <= total["p99"]
    assert summary["variants"][0]["difference"] is None
    gap = summary["variants"][2]["difference"]
    assert gap["low"] <= gap["difference"] <= gap["high"]
    assert gap["difference"] == pytest.approx(bm25["ndcg@10"] - hybrid["ndcg@10"], abs=1e-4)
    assert "embed" not in summary["variants"][2]["latency_ms"], "search by words embeds nothing"
    # one after the other: 3.60 an hour are 0.001 a second
    assert 0 < summary["variants"][0]["cost_per_thousand"] < 1


def test_an_evaluation_leaves_a_table_samples_and_a_headline(evaluated: Path) -> None:
    table = (evaluated / "results/table.md").read_text()
    assert table.count("\n| parent | 0.") == 1
    assert "| lexical |" in table
    (row,) = map(json.loads, (evaluated / "metrics.jsonl").read_text().splitlines())
    assert row["headline"].startswith(f"ndcg@10 {row['score/as written/ndcg@10']:.3f} over ")
    samples = [json.loads(line) for line in (evaluated / "results/samples.jsonl").read_text().splitlines()]
    assert set(samples[0]["found"]) == {"as written", "dense", "bm25", "parent"}
    assert len(samples[0]["found"]["bm25"]) <= 10
    summary = json.loads((evaluated / "results/summary.json").read_text())
    for file in draw(summary, evaluated / "results"):
        assert file.stat().st_size > 2000


def test_what_can_not_be_evaluated_is_told_in_one_line(rag: Environment, tmp_path: Path) -> None:
    for questions, said in (("nowhere", "is no BEIR folder: corpus.jsonl is missing"), ("stdlib", "no questions")):
        sources = [{"stdlib": True, "include": ["no_such_module"]}]
        given = {**CONFIG, "sources": sources, "evaluation": {**CONFIG["evaluation"], "questions": questions}}
        (tmp_path / "rag.json").write_text(json.dumps(given))
        done = call(rag, "-m", "rag", "evaluate", str(tmp_path / "rag.json"))
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert said in line
        assert "Traceback" not in done.stderr
