"""Runs in the rag environment, for tests/benchmarks/retrieval.py: prepares what is searched, then measures one system.

    prepare FOLDER SIZE QUESTIONS    passages, questions and vectors, the same for all systems and sizes
    ours FOLDER SIZE                 PostgreSQL and BM25
    llamaindex FOLDER SIZE           LlamaIndex as it comes: VectorStoreIndex in memory, dense alone

Passages are first the documents that answer a question, then the other docstrings of the standard library, both with
vectors of all-MiniLM-L6-v2, then made ones. A made one has words of two docstrings, drawn from both, and for a vector
their two vectors' mean with noise: nothing that a question asks for, and near to what is.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rag import labelled
from rag.config import Config
from rag.evaluate import beir
from rag.evaluate.measure import scores

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
K = 10
MADE_WORDS = 50
NOISE = 0.6  # of the length of the mean of two vectors
BATCH = 2000
MODES = ("hybrid", "dense", "bm25")
# questions before time is taken
WARM = 20


def prepare(folder: Path, size: int, questions: int) -> None:
    """corpus.jsonl with `size` rows and vectors.npy beside it, questions.json with their vectors."""
    from rag.embed import Embedder
    from rag.types import as_searched

    labelled.write(folder / "labelled")
    asked = beir.read(folder / "labelled", questions)
    rows = [json.loads(line) for line in (folder / "labelled/corpus.jsonl").read_text().splitlines()]
    answers = {document for grades in asked.relevant.values() for document in grades}
    rows.sort(key=lambda row: (row["_id"] not in answers, labelled.chance("order", row["_id"]), row["_id"]))
    embedder = Embedder({"model": MODEL, "max_length": 256}, folder.parent / "vectors")
    began = time.perf_counter()
    real = embedder.passages([as_searched(row["title"], "", row["text"]) for row in rows])
    seconds = time.perf_counter() - began
    made = made_ones(rows, real, max(0, size - len(rows)))
    np.save(folder / "vectors.npy", np.concatenate([real, *(vector[None] for _, vector in made)])[:size])
    with (folder / "corpus.jsonl").open("w") as out:
        for row in [*rows, *(row for row, _ in made)][:size]:
            out.write(json.dumps(row) + "\n")
    names = list(asked.texts)
    np.save(folder / "questions.npy", embedder.queries([asked.texts[name] for name in names]))
    (folder / "questions.json").write_text(json.dumps([[n, asked.texts[n], asked.relevant[n]] for n in names]))
    tell({"answers": len(answers), "real": min(size, len(rows)), "questions": len(names), "embed_s": seconds})


def made_ones(rows: list[dict[str, Any]], real: Any, count: int) -> list[tuple[dict[str, Any], Any]]:
    rng = np.random.default_rng(0)
    words = [row["text"].split() for row in rows]
    found = []
    for n in range(count):
        one, other = rng.integers(0, len(rows), 2)
        drawn = [w[i] for w in (words[one], words[other]) for i in rng.integers(0, len(w), MADE_WORDS // 2)]
        middle = (real[one] + real[other]) / 2
        noise = rng.normal(size=middle.size).astype(np.float32)
        vector = middle + noise * NOISE * np.linalg.norm(middle) / np.linalg.norm(noise)
        text = " ".join(drawn[i] for i in rng.permutation(len(drawn)))
        found.append(({"_id": f"made-{n}", "title": "", "text": text}, (vector / np.linalg.norm(vector))))
    return found


def load(folder: Path, size: int) -> Iterator[tuple[dict[str, Any], Any]]:
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    with (folder / "corpus.jsonl").open() as lines:
        for n, line in zip(range(size), lines, strict=False):
            yield json.loads(line), np.asarray(vectors[n])


def ask(folder: Path, search: Callable[[str, Any], tuple[list[str], dict[str, float]]]) -> dict[str, Any]:
    """nDCG@10 of each question, and the milliseconds of each search, from the outside."""
    vectors = np.load(folder / "questions.npy")
    questions = json.loads((folder / "questions.json").read_text())
    for (_, text, _), vector in zip(questions[:WARM], vectors, strict=False):
        search(text, vector)
    ranked, times, stages = {}, [], []
    for (name, text, _), vector in zip(questions, vectors, strict=True):
        began = time.perf_counter()
        ranked[name], parts = search(text, vector)
        times.append((time.perf_counter() - began) * 1000)
        stages.append(parts)
    found = scores(ranked, {name: answers for name, _, answers in questions}, [K])
    return {
        "ndcg": found[f"ndcg@{K}"],
        "recall": float(np.mean(list(found[f"recall@{K}"].values()))),
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "stages_p95_ms": {s: float(np.percentile([p.get(s, 0.0) for p in stages], 95)) for s in stages[0]},
    }


def ours(folder: Path, size: int) -> None:
    from rag.index import open_index
    from rag.retrieve import Retriever
    from rag.types import Change, Document, Passage

    place = folder / f"store-{size}"
    settings = {"model": MODEL, "max_length": 256}
    config = Config("bench", place, place, [], {}, settings, {"kind": "postgres", "url": None}, {})
    store = open_index(config)

    def change(row: dict[str, Any], vector: Any) -> Change:
        name, text = row["_id"], row["text"]
        lines = text.count("\n") + 1
        passage = Passage(name, name, 0, text, 0, len(text), 1, lines, len(text.split()))
        return Change(Document(name, name, row["title"], name, "text/plain", text), (passage,), vector[None])

    began = time.perf_counter()
    batch: list[Change] = []
    for row, vector in load(folder, size):
        batch.append(change(row, vector))
        if len(batch) == BATCH:
            store.apply(batch)
            batch = []
    if batch:
        store.apply(batch)
    copied = time.perf_counter() - began
    store.settle()
    seconds = time.perf_counter() - began
    del batch
    gc.collect()
    before = resident()
    retriever = Retriever(config, store, None)  # type: ignore[arg-type]
    began = time.perf_counter()
    retriever.warm()
    lexical = time.perf_counter() - began
    for mode in MODES:

        def search(text: str, vector: Any, mode: str = mode) -> tuple[list[str], dict[str, float]]:
            found = retriever.search(text, K, overrides={"mode": mode}, vector=vector)
            return [hit.passage.document for hit in found.hits], found.timings_ms

        tell({
            "system": mode, "size": size, "ingest_s": seconds, "copy_s": copied, "bm25_s": lexical,
            **ask(folder, search), "process_mib": resident() - before, "server_mib": server(place),
            "disk_mib": store.counts().bytes / 2**20,
        })  # fmt: skip
    store.close()


def llamaindex(folder: Path, size: int) -> None:
    from llama_index.core import MockEmbedding, QueryBundle, VectorStoreIndex
    from llama_index.core.schema import TextNode

    before = resident()
    began = time.perf_counter()
    nodes = [
        TextNode(id_=row["_id"], text=f"{row['title']}\n{row['text']}".strip(), embedding=vector.tolist())
        for row, vector in load(folder, size)
    ]
    # it embeds nothing: each node and each question comes with its vector
    index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=384))
    del nodes
    gc.collect()
    seconds = time.perf_counter() - began
    asked = index.as_retriever(similarity_top_k=K)

    def search(text: str, vector: Any) -> tuple[list[str], dict[str, float]]:
        found = asked.retrieve(QueryBundle(text, embedding=vector.tolist()))
        return [each.node.node_id for each in found], {}

    global WARM
    WARM = 3  # each takes seconds, and nothing is kept from one to the next
    tell({
        "system": "llamaindex", "size": size, "ingest_s": seconds, **ask(folder, search),
        "process_mib": resident() - before,
    })  # fmt: skip


def resident() -> float:
    return psutil.Process().memory_info().rss / 2**20


def server(place: Path) -> float:
    """What PostgreSQL's processes hold of memory, what they share counted once."""
    held = 0.0
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and Path(process.cwd()).is_relative_to(place.resolve()):
                held += process.memory_full_info().pss / 2**20
        except psutil.Error:
            continue
    return held


def tell(row: dict[str, Any]) -> None:
    print("BENCH " + json.dumps(row), flush=True)


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    {"prepare": prepare, "ours": ours, "llamaindex": llamaindex}[what](Path(where), *map(int, numbers))
