"""A question -> hits, by dense vectors, BM25 or both, reranked, shown in their surroundings; times by stage."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from . import expand
from .config import Config, read_config
from .fuse import FUSIONS, Listed, fuse
from .fuse import Found as Candidate
from .lexical import Lexical, Settings
from .rerank import DEPTH, Ask, by_generator, by_model
from .rewrite import rewrite
from .types import Hit, Passage, Problem, Store, Vectors, Where

MODES = ("hybrid", "dense", "bm25")
# what a recipe may leave out; the schema says the same
DEFAULTS: dict[str, Any] = {
    "mode": "hybrid",
    "top_k": 8,
    "candidates": 100,
    "fusion": "scores",
    "fusion_k": 10,
    "weights": {"dense": 1.0, "bm25": 1.0},
    "bm25": {"k1": 0.9, "b": 0.4, "stemmer": "english"},
    "rerank": None,
    "rewrite": None,
    "expand": None,
    "window": 1,
    "where": {},
}
THREADS = 8


class Embedder(Protocol):
    def query(self, text: str) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Found:
    """`timings_ms` has the stages that took place: `rewrite`, `embed`, `dense`, `lexical`, `fuse`, `fetch`, `rerank`,
    `expand`, and `total`, which is less than their sum where two ran at a time."""

    hits: list[Hit]
    timings_ms: dict[str, float]
    questions: list[str] = field(default_factory=list)  # what was searched by: as asked, and as rewritten


class Retriever:
    """One index, searched from any number of threads at a time. `ask` is the language model, which rewrites and
    reranks where a recipe says so."""

    def __init__(self, config: Config, store: Store, embedder: Embedder, ask: Ask | None = None) -> None:
        self.store, self.embedder, self.ask = store, embedder, ask
        self.settings = settled(DEFAULTS, config.retrieval)
        self._lexical: dict[Settings, Lexical] = {}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lexical")
        self._refuse(self.settings)

    def warm(self) -> None:
        """Makes the BM25 index, which the first question would wait for."""
        if self.settings["mode"] != "dense":
            self.lexical().index()

    def search(
        self,
        query: str,
        k: int | None = None,
        where: Where | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        vector: Vectors | None = None,
        history: Sequence[dict[str, str]] = (),
    ) -> Found:
        """At most `k` hits, best first. `vector` is the query's, where it is known already. Raises Problem."""
        settings = settled(self.settings, overrides or {})
        if overrides:
            self._refuse(settings)
        settings["top_k"] = k or settings["top_k"]
        times: dict[str, float] = {}
        with timed(times, "total"):
            questions = self._questions(query, settings, history, times)
            wanted = {**settings["where"], **(where or {})} or None
            lists = [
                each
                for n, question in enumerate(questions)
                for each in self._lists(question, settings, wanted, times, vector if n == 0 else None)
            ]
            with timed(times, "fuse"):
                fused = fuse(lists, settings["weights"], settings["fusion"], settings["fusion_k"])
            hits = self._hits(questions[-1], fused, settings, times)
        return Found(hits, {name: round(ms, 3) for name, ms in times.items()}, questions)

    def _refuse(self, settings: dict[str, Any]) -> None:
        if settings["mode"] not in MODES:
            raise Problem(f"retrieval has no mode {settings['mode']!r}: it is one of {', '.join(MODES)}")
        if settings["fusion"] not in FUSIONS:
            raise Problem(f"retrieval has no fusion {settings['fusion']!r}: it is one of {', '.join(FUSIONS)}")
        rerank = settings["rerank"] or {}
        if self.ask is None and (settings["rewrite"] or rerank.get("by") == "generator"):
            raise Problem("rewriting and reranking by the generator need a generator, and there is none")

    def _questions(
        self, query: str, settings: dict[str, Any], history: Sequence[dict[str, str]], times: dict[str, float]
    ) -> list[str]:
        if not settings["rewrite"] or self.ask is None:
            return [query]
        with timed(times, "rewrite"):
            other = rewrite(self.ask, query, history)
        return [query] if other is None else [query, other]

    def _lists(
        self, question: str, settings: dict[str, Any], where: Where | None, times: dict[str, float], vector: Any
    ) -> list[Listed]:
        """The best of each way of searching; BM25 runs while the question is embedded and the store searched."""
        mode, k = settings["mode"], max(settings["candidates"], settings["top_k"])

        def lexical() -> list[tuple[str, float]]:
            with timed(times, "lexical"):
                return self.lexical(settings).search(question, k, where)

        if mode == "bm25":
            return [Listed("bm25", lexical())]
        behind = self._pool.submit(lexical) if mode == "hybrid" else None
        if vector is None:
            with timed(times, "embed"):
                vector = self.embedder.query(question)
        with timed(times, "dense"):
            dense = self.store.dense(vector, k, where)
        if behind is None:
            return [Listed("dense", dense)]
        words = behind.result()
        known = {passage for passage, _ in dense}
        others = [passage for passage, _ in words if passage not in known]
        further: dict[str, float] = {}
        if settings["fusion"] == "scores" and others and hasattr(self.store, "similarities"):
            with timed(times, "dense"):
                further = self.store.similarities(vector, others)
        return [Listed("dense", dense, further), Listed("bm25", words)]

    def lexical(self, settings: Mapping[str, Any] | None = None) -> Lexical:
        """The BM25 index for these settings, the recipe's when left out; made once for all who ask."""
        asked = Settings(**(settings or self.settings)["bm25"])
        if asked.stemmer == "none":
            asked = replace(asked, stemmer=None)
        # two that come at a time make one more of no use, which is not harmful: it is not filled yet
        return self._lexical.setdefault(asked, Lexical(self.store, asked))

    def _hits(
        self, question: str, fused: list[Candidate], settings: dict[str, Any], times: dict[str, float]
    ) -> list[Hit]:
        rerank, k = settings["rerank"], settings["top_k"]
        again = (rerank.get("depth") or DEPTH["model" if rerank.get("model") else "generator"]) if rerank else 0
        # more than are wanted where some will be seen to be parts of others
        with timed(times, "fetch"):
            hits = list(self._fetched(fused, max(again, k if settings["expand"] is None else 3 * k)))
        if rerank:
            # those that are not read again stay behind those that are
            with timed(times, "rerank"):
                hits = [*self._reranked(question, hits[:again], rerank), *hits[again:]]
            k = min(k, rerank.get("top_n") or k)
        if settings["expand"] is None:
            return hits[:k]
        with timed(times, "expand"):
            return self._expanded(hits, settings, k)

    def _fetched(self, fused: list[Candidate], n: int) -> Iterator[Hit]:
        """The first `n` that are still there, each text once."""
        seen: set[bytes] = set()
        step = n + 8
        for start in range(0, len(fused), step):
            batch = fused[start : start + step]
            passages = self.store.fetch([each.id for each in batch])
            for each in batch:
                passage = passages.get(each.id)
                if passage is None:
                    continue
                digest = hashlib.sha1(" ".join(passage.text.split()).encode(), usedforsecurity=False).digest()
                if digest in seen:
                    continue
                seen.add(digest)
                yield Hit(passage, each.score, each.scores, each.ranks)
                if len(seen) == n:
                    return

    def _reranked(self, question: str, hits: list[Hit], rerank: dict[str, Any]) -> list[Hit]:
        texts = [f"{hit.passage.heading}\n{hit.passage.text}".strip() for hit in hits]
        if not texts:
            return hits
        if rerank.get("model"):
            scores = by_model(rerank["model"], question, texts)
        elif self.ask is not None:
            scores = by_generator(self.ask, question, texts)
        else:
            raise Problem("reranking by the generator needs a generator, and there is none")
        # stable: those that the language model did not name stay in their order, at the end
        order = sorted(range(len(hits)), key=lambda n: -scores[n])
        return [
            replace(
                hits[n],
                score=scores[n],
                scores={**hits[n].scores, "rerank": scores[n]},
                ranks={**hits[n].ranks, "rerank": rank},
            )
            for rank, n in enumerate(order, 1)
        ]

    def _expanded(self, hits: list[Hit], settings: dict[str, Any], k: int) -> list[Hit]:
        """What lies in the surroundings of a better hit is shown with it already."""
        parents = self._parents(hits) if settings["expand"] == "parent" else {}
        shown: dict[str, list[tuple[int, int]]] = {}
        found: list[Hit] = []
        for hit in hits:
            passage = hit.passage
            covered = shown.setdefault(passage.document, [])
            if any(start <= passage.start and passage.end <= end for start, end in covered):
                continue
            parent = parents.get(passage.parent or "")
            if parent is not None:
                text, place = parent.text, (parent.start, parent.end)
            elif settings["expand"] == "window":
                text, place = expand.window(self.store, passage, settings["window"])
            else:
                text, place = passage.text, (passage.start, passage.end)
            covered.append(place)
            found.append(replace(hit, shown=text))
            if len(found) == k:
                break
        return found

    def _parents(self, hits: list[Hit]) -> dict[str, Passage]:
        return self.store.fetch(sorted({hit.passage.parent for hit in hits if hit.passage.parent}))


def main(argv: list[str]) -> int:
    """Prints a row of JSON for each hit, and the times to stderr. Raises Problem."""
    from .embed import open_embedder
    from .index import open_index

    parser = argparse.ArgumentParser(prog="python -m rag retrieve")
    parser.add_argument("config", type=Path, metavar="rag.json")
    parser.add_argument("question")
    parser.add_argument("--k", type=int)
    parser.add_argument("--mode", choices=MODES)
    given = parser.parse_args(argv)
    config = read_config(given.config)
    # what needs the language model is left to the service
    retrieval = {**config.retrieval, "rewrite": None, "mode": given.mode or config.retrieval["mode"]}
    if (retrieval.get("rerank") or {}).get("by"):
        retrieval["rerank"] = None
    store, embedder = open_index(config), open_embedder(config)
    try:
        search = Retriever(replace(config, retrieval=retrieval), store, embedder)
        search.warm()
        embedder.warm()
        found = search.search(given.question, given.k)
    finally:
        store.close()
        embedder.close()
    for hit in found.hits:
        p = hit.passage
        place = {"document": p.document, "lines": [p.start_line, p.end_line], "page": p.page, "heading": p.heading}
        print(json.dumps({**place, "score": hit.score, "ranks": hit.ranks, "text": hit.shown or p.text}))
    print(json.dumps(found.timings_ms), file=sys.stderr)
    return 0


def settled(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others laid over them; `weights` and `bm25` key by key. Raises Problem for an unknown key."""
    if unknown := sorted(set(overrides) - set(DEFAULTS)):
        raise Problem(f"retrieval has no key {unknown[0]!r}")
    laid = dict(settings)
    for name, value in overrides.items():
        laid[name] = {**laid[name], **value} if name in ("weights", "bm25") else value
    return laid


@contextmanager
def timed(times: dict[str, float], stage: str) -> Iterator[None]:
    """Adds the milliseconds that it took."""
    began = time.perf_counter()
    try:
        yield
    finally:
        times[stage] = times.get(stage, 0.0) + (time.perf_counter() - began) * 1000
