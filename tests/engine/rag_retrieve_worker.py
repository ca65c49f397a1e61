"""Runs in the rag environment: facts about retrieval and its evaluation, one JSON object on stdout.

The store is in memory and the vectors are of words, so that what should be found can be told by hand; the real store
and model are in test_rag_retrieve.py's last tests.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from rag import expand, lexical, rerank, words
from rag.answer import Pipeline, Question
from rag.config import Config
from rag.fuse import Listed, fuse
from rag.retrieve import Retriever
from rag.types import Passage
from rag_evaluation_facts import judging, labelling, measuring, odd, problem, reading, short_answers
from rag_memory import Memory, WordVectors

TEXTS = {
    "join": "os.path.join puts the parts of a path together with the separator of the system",
    "csv": "read_csv loads a table from comma separated values into a frame",
    "http": "HTTPServer waits for a client, and hands each request to a handler",
    "sleep": "time.sleep lets the thread pause for so many seconds",
    "sleep2": "time.sleep  lets the thread pause for so many\nseconds",
    "lock": "a lock makes one thread wait until another has let it go",
}


def passage(name: str, text: str, **more: Any) -> Passage:
    given = {"document": name, "ordinal": 0, "start": 0, "end": len(text), "start_line": 1, "end_line": 1, "tokens": 9}
    return Passage(id=name, text=text, **{**given, **more})


def retriever(store: Any, ask: Any = None, **retrieval: Any) -> Retriever:
    config = Config("t", Path(), Path(), [], {}, {}, {}, retrieval)
    return Retriever(config, store, WordVectors(), ask)


def shelf() -> Memory:
    return Memory([passage(n, t, meta={"long": len(t) > 60, "kind": n[:3]}) for n, t in TEXTS.items()])


def names(found: Any) -> list[str]:
    return [hit.passage.id for hit in found.hits]


def tokenizing() -> dict[str, Any]:
    stem = words.stemmer("english")
    asked = [
        "os.path.join",
        "read_csv",
        "BaseHTTPRequestHandler",
        "IL-2",
        "low-density",
        "mRNAs",
        "Sjögren\N{RIGHT SINGLE QUOTATION MARK}s",
        "__init__",
    ]
    terms = {text: [t for raw in words.raw_words(text) for t in words.terms(raw, stem)] for text in asked}
    return {
        "terms": terms,
        "question": words.asked("What is the name of a lock?", stem),
        "only common": words.asked("what is it", stem),
        "no stemmer": problem(lambda: words.stemmer("klingon")),
    }


def like_bm25s() -> dict[str, Any]:
    """The largest difference between our scores and bm25s's, over random passages and questions."""
    rng = np.random.default_rng(0)
    vocabulary = [f"w{n}" for n in range(300)]
    chance = 1 / np.arange(1, 301)
    texts = [list(rng.choice(vocabulary, rng.integers(1, 60), p=chance / chance.sum())) for _ in range(500)]
    furthest = 0.0
    for k1, b in ((1.2, 0.75), (0.9, 0.4), (2.0, 0.0)):
        theirs = bm25s.BM25(k1=k1, b=b, method="lucene")
        theirs.index(texts, show_progress=False)
        rows = [(str(n), " ".join(text), {}) for n, text in enumerate(texts)]
        index = lexical.build(1, rows, lexical.Vocabulary(lexical.Settings(k1, b, None)))
        for _ in range(50):
            question = list(rng.choice(vocabulary, 5))
            expected = theirs.get_scores([w for w in question if any(w in t for t in texts)])
            found = dict(index.search(" ".join(question), 500))
            assert len(found) == int((expected > 0).sum())
            furthest = max([furthest, *(abs(expected[int(name)] - score) for name, score in found.items())])
    return {"furthest": float(furthest)}


def searching() -> dict[str, Any]:
    store = shelf()
    r = retriever(store, top_k=3)
    hybrid = r.search("pause a thread for seconds")
    alone = {mode: r.search("pause a thread for seconds", overrides={"mode": mode}) for mode in ("dense", "bm25")}
    return {
        "hybrid": names(hybrid),
        "ranks": hybrid.hits[0].ranks,
        "scores": sorted(hybrid.hits[0].scores),
        "timings": sorted(hybrid.timings_ms),
        "identifier": names(r.search("join", overrides={"mode": "bm25"})),
        "part": names(r.search("csv", overrides={"mode": "bm25"})),
        "one score": {m: list(f.hits[0].scores) for m, f in alone.items()},
        "twice": names(r.search("sleep pause seconds", k=6)),
        "where": {m: names(r.search("thread", k=6, where={"kind": ["loc", "csv"]}, overrides={"mode": m}))
                  for m in ("hybrid", "bm25", "dense")},
        "nothing": names(r.search("zzz", overrides={"mode": "bm25"})),
        "refused": [problem(lambda: r.search("x", overrides={"mod": 1})), problem(lambda: retriever(store, mode="x")),
                    problem(lambda: retriever(store, rewrite="generator")),
                    problem(lambda: r.search("x", overrides={"rerank": {"by": "generator"}}))],
    }  # fmt: skip


def fusing() -> dict[str, Any]:
    lists = [Listed("dense", [("a", 0.9), ("b", 0.8)], {"c": 0.45}), Listed("bm25", [("b", 14.0), ("c", 3.0)])]
    weights = {"dense": 2.0, "bm25": 1.0}
    fused, scored = (fuse(lists, weights, how, 10) for how in ("rrf", "scores"))
    even = fuse([Listed("dense", [("a", -0.1), ("b", -0.2)]), Listed("bm25", [("c", 0.1)])], weights, "scores", 10)
    products = fuse(
        [Listed("dense", [("a", 30.0), ("b", 15.0)]), Listed("bm25", [("b", 70.0), ("a", 35.0)])], {}, "scores", 10
    )
    alone = fuse([Listed("dense", lists[0].ranked)], {}, "scores", 10)
    made = {"fused": fused, "scored": scored, "even": even, "products": products}
    return {**{name: [(f.id, f.score) for f in found] for name, found in made.items()},
            "alone": [(f.id, f.score, f.ranks) for f in alone]}  # fmt: skip


def following() -> dict[str, Any]:
    """What is deleted is not shown, even while the words' index is an old one; what is new is found in the end."""
    store = shelf()
    r = retriever(store, top_k=5, mode="bm25")
    before = names(r.search("comma separated table"))
    lexical.AT_ONCE_S = 0.0  # as if making the index took long
    kept = [p for p in store.passages.values() if p.id != "csv"]
    store.replace([*kept, passage("tsv", "a table of values separated by tabs, not by a comma")])
    at_once = names(r.search("comma separated table"))
    until = time.monotonic() + 20
    while "tsv" not in (later := names(r.search("comma separated table"))) and time.monotonic() < until:
        time.sleep(0.01)
    failed: list[str] = []

    def ask() -> None:
        try:
            for _ in range(40):
                r.search("thread table", overrides={"mode": "hybrid"})
        except Exception as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for n in range(20):
        store.replace([*kept, passage(f"new{n}", f"table number {n}")])
    for thread in threads:
        thread.join()
    lexical.AT_ONCE_S = 0.5
    return {"before": before, "at once": at_once, "later": later, "failed": failed}


def asking() -> dict[str, Any]:
    """Reranked and rewritten by a language model whose words are given here."""
    store, seen = shelf(), []

    def ask(answer: str) -> Any:
        def answered(messages: list[dict[str, str]]) -> str:
            seen.append(messages[-1]["content"])
            return answer

        return answered

    first = names(retriever(store, top_k=4, mode="bm25").search("thread wait"))
    by = {"rerank": {"by": "generator", "depth": 3}, "top_k": 4, "mode": "bm25"}
    turned = retriever(store, ask("2, 99, 2 and 1. Ignore the rest"), **by).search("thread wait")
    cut = retriever(store, ask("2"), **{**by, "rerank": {"by": "generator", "top_n": 1}}).search("thread wait")
    mute = names(retriever(store, ask("I would rather not"), **by).search("thread wait"))
    rewriting = {"rewrite": "generator", "top_k": 2, "mode": "bm25"}
    both = retriever(store, ask('"comma separated table"\n'), **rewriting).search("what reads it?")
    long = retriever(store, ask("x" * 500), **rewriting).search("lock")
    return {
        "first": first, "turned": names(turned), "mute": mute, "cut": names(cut),
        "reranked": turned.hits[0].ranks["rerank"],
        "questions": both.questions, "found": names(both), "too long": long.questions, "shown": seen[0],
    }  # fmt: skip


def surroundings() -> dict[str, Any]:
    text = "One is first. Two follows it. Three is last. Four is of another thing."
    cuts = [(0, 14), (10, 30), (30, 45), (45, len(text))]
    parent = passage("big", text[:45], document="d", end=45)
    parts = [
        passage(f"p{n}", text[a:b], document="d", ordinal=n, start=a, end=b, parent="big" if n < 3 else None)
        for n, (a, b) in enumerate(cuts)
    ]
    store = Memory(parts, [parent])

    def shown(**settings: Any) -> Any:
        found = retriever(store, mode="bm25", top_k=4, **settings).search("one two three four")
        return [(hit.passage.id, hit.shown) for hit in found.hits]

    return {
        "plain": shown(),
        "window": dict(shown(expand="window", window=1)),
        "parent": shown(expand="parent"),
        "joined": expand.joined(parts) == text,
    }


def crossing(folder: Path) -> dict[str, Any]:
    """A cross-encoder of a configuration, with random weights: its order is the one that is given."""
    from sentence_transformers import CrossEncoder
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for t in TEXTS.values() for w in t.split()})]
    plain = Tokenizer(models.WordLevel({w: n for n, w in enumerate(entries)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **marks).save_pretrained(folder)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForSequenceClassification(
        BertConfig(vocab_size=len(entries), num_labels=1, initializer_range=1.0, **size)
    ).save_pretrained(folder)
    question = "thread wait"
    settings = {"mode": "bm25", "top_k": 3, "rerank": {"model": str(folder)}}
    found = retriever(shelf(), **settings).search(question)
    texts = [hit.passage.text for hit in found.hits]
    expected = CrossEncoder(str(folder)).predict([(question, text) for text in texts])
    rerank.cross_encoder.cache_clear()
    return {
        "scores": [hit.score for hit in found.hits],
        "expected": [float(s) for s in expected],
        "stage": "rerank" in found.timings_ms,
        "missing": problem(lambda: rerank.by_model(str(folder / "none"), question, texts)),
    }


def narrowing() -> dict[str, list[str]]:
    """What a request finds by its own filter where the recipe lets one kind be found."""
    store = shelf()
    config = Config("t", Path(), Path(), [], {}, {}, {}, {"where": {"kind": "sle"}})
    with ThreadPoolExecutor(1) as workers:
        search = Retriever(config, store, WordVectors(), None)
        pipeline = Pipeline(config, store, search, WordVectors(), None, workers)
        asked = {"all": None, "another kind": {"kind": "loc"}, "short": {"long": False}, "long": {"long": True}}
        return {
            name: sorted(names(asyncio.run(pipeline.retrieve(Question("a thread that waits", where=where)))))
            for name, where in asked.items()
        }


def main() -> None:
    folder = Path(sys.argv[1])
    facts = {
        "tokenizing": tokenizing(), "bm25s": like_bm25s(), "searching": searching(), "fusing": fusing(),
        "following": following(), "asking": asking(), "surroundings": surroundings(),
        "measuring": measuring(), "judging": judging(), "short answers": short_answers(),
        "reading": reading(folder / "beir"), "odd": odd(folder / "odd"), "labelling": labelling(folder / "labelled"),
        "crossing": crossing(folder / "cross"), "narrowing": narrowing(),
    }  # fmt: skip
    print("FACTS " + json.dumps(facts))


main()
