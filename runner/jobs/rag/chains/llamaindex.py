"""LlamaIndex: SentenceSplitter, its own BM25 and fusion beside our vectors, and a query engine's synthesizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import Stemmer
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.llms.openai_like import OpenAILike
from llama_index.retrievers.bm25 import BM25Retriever

from ..llm import Generator
from ..retrieve import Found, Retriever
from ..types import Hit
from .places import places

# ours -> LlamaIndex's
FUSIONS = {"scores": "relative_score", "rrf": "reciprocal_rerank"}


def split(text: str, size: int, overlap: int, encode: Callable[[str], list[int]]) -> list[tuple[int, int]]:
    """Places of at most `size` tokens."""
    splitter = SentenceSplitter(chunk_size=size, chunk_overlap=overlap, tokenizer=encode, include_metadata=False)
    return places(text, splitter.split_text(text))


class _Vectors(BaseRetriever):
    """LlamaIndex has every retriever inherit from its own."""

    def __init__(self, retriever: Retriever, k: int) -> None:
        self._given, self._k = retriever, k
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        store = self._given.store
        near = store.dense(self._given.embedder.query(query_bundle.query_str), self._k)
        passages = store.fetch([name for name, _ in near])
        return [NodeWithScore(node=_node(name, passages[name].text), score=score) for name, score in near]


def _node(name: str, text: str) -> TextNode:
    # fused by the hash of text and metadata: equal texts of two documents are two
    return TextNode(id_=name, text=text, metadata={"passage": name})


class Searching:
    """As retrieve.Retriever, of the recipe's own settings: `mode`, `candidates`, `top_k`."""

    def __init__(self, retriever: Retriever) -> None:
        self.store, self.embedder, self.settings = retriever.store, retriever.embedder, retriever.settings
        k = int(self.settings["candidates"])
        vectors = _Vectors(retriever, k)
        words = None
        if self.settings["mode"] != "dense":
            nodes = [_node(name, text) for name, text, _ in self.store.lexicon()]
            language = self.settings["bm25"]["stemmer"]
            stemmer = Stemmer.Stemmer(language) if language else None
            k = min(k, len(nodes))
            words = BM25Retriever.from_defaults(
                nodes=nodes, similarity_top_k=k, stemmer=stemmer, skip_stemming=stemmer is None
            )
        self.retriever: BaseRetriever = vectors
        if words is not None:
            both = QueryFusionRetriever(
                [vectors, words],
                similarity_top_k=2 * k,
                num_queries=1,
                mode=FUSIONS[self.settings["fusion"]],
                retriever_weights=[float(self.settings["weights"][name]) for name in ("dense", "bm25")],
                use_async=False,
                llm=MockLLM(),  # it wants one, and asks it for nothing with one query
            )
            self.retriever = words if self.settings["mode"] == "bm25" else both

    def search(self, query: str, k: int | None = None, overrides: Mapping[str, Any] | None = None) -> Found:
        began = time.perf_counter()
        nodes = self.retriever.retrieve(query)[: k or self.settings["top_k"]]
        passages = self.store.fetch([each.node.node_id for each in nodes])
        hits = [Hit(passages[n.node.node_id], float(n.score or 0)) for n in nodes if n.node.node_id in passages]
        return Found(hits, {"total": round(1000 * (time.perf_counter() - began), 3)}, [query])


def searching(retriever: Retriever) -> Searching:
    return Searching(retriever)


def answering(generator: Generator) -> Callable[[str, Sequence[Hit]], tuple[str, float]]:
    """(question, hits) -> the answer and the milliseconds to its first token, by LlamaIndex's own prompt."""
    llm = OpenAILike(
        model=generator.model,
        api_base=generator.address,
        api_key=generator.key,
        is_chat_model=True,
        context_window=generator.context_length,
        max_tokens=generator.max_tokens,
        temperature=generator.temperature,
    )
    synthesizer = get_response_synthesizer(llm=llm, response_mode=ResponseMode.SIMPLE_SUMMARIZE, streaming=True)

    def answer(question: str, hits: Sequence[Hit]) -> tuple[str, float]:
        began = time.perf_counter()
        nodes = [NodeWithScore(node=_node(h.passage.id, h.shown or h.passage.text), score=h.score) for h in hits]
        said = synthesizer.synthesize(question, nodes)
        assert isinstance(said, StreamingResponse)
        first, text = 0.0, ""
        for piece in said.response_gen:
            first = first or 1000 * (time.perf_counter() - began)
            text += piece
        return text, round(first, 3)

    return answer
