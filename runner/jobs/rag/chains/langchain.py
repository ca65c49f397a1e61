"""LangChain: its recursive splitter, retrievers in parallel and their fusion as runnables, a prompt and a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel
from langchain_openai import ChatOpenAI
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ..fuse import Listed, fuse
from ..llm import Generator
from ..retrieve import Found, Retriever
from ..types import Hit
from .places import places

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer the question from the context alone. Context:\n\n{context}"),
        ("human", "{question}"),
    ]
)


def split(text: str, size: int, overlap: int, encode: Callable[[str], list[int]]) -> list[tuple[int, int]]:
    """Places of at most `size` tokens."""
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=overlap, length_function=lambda piece: len(encode(piece))
    )
    return places(text, splitter.split_text(text))


class _Vectors(BaseRetriever):
    """LangChain has every retriever inherit from its own, whose fields pydantic reads."""

    given: Any
    k: int

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        near = self.given.store.dense(self.given.embedder.query(query), self.k)
        return [Document(id=name, page_content="", metadata={"score": score}) for name, score in near]


class _Words(BaseRetriever):
    """LangChain's core has no BM25: ours."""

    lexical: Any
    k: int

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        found = self.lexical.search(query, self.k)
        return [Document(id=name, page_content="", metadata={"score": score}) for name, score in found]


class Searching:
    """As retrieve.Retriever, of the recipe's own settings: `mode`, `candidates`, `fusion`, `top_k`."""

    def __init__(self, retriever: Retriever) -> None:
        self.store, self.embedder, self.settings = retriever.store, retriever.embedder, retriever.settings
        settings, k = self.settings, int(self.settings["candidates"])
        vectors = _Vectors(given=retriever, k=k)
        words = _Words(lexical=retriever.lexical(), k=k)
        fused = RunnableParallel(dense=vectors, bm25=words) | RunnableLambda(self._fused)
        self.chain: Runnable[str, list[Document]] = {"dense": vectors, "bm25": words}.get(settings["mode"], fused)

    def _fused(self, lists: dict[str, list[Document]]) -> list[Document]:
        """By ours: LangChain's own ensemble has left its core."""
        ranked = [
            Listed(name, [(str(each.id), each.metadata["score"]) for each in found]) for name, found in lists.items()
        ]
        best = fuse(ranked, self.settings["weights"], self.settings["fusion"], self.settings["fusion_k"])
        return [Document(id=each.id, page_content="", metadata={"score": each.score}) for each in best]

    def search(self, query: str, k: int | None = None, overrides: Mapping[str, Any] | None = None) -> Found:
        began = time.perf_counter()
        documents = self.chain.invoke(query)[: k or self.settings["top_k"]]
        passages = self.store.fetch([str(each.id) for each in documents])
        hits = [Hit(passages[str(d.id)], float(d.metadata["score"])) for d in documents if str(d.id) in passages]
        return Found(hits, {"total": round(1000 * (time.perf_counter() - began), 3)}, [query])


def searching(retriever: Retriever) -> Searching:
    return Searching(retriever)


def answering(generator: Generator) -> Callable[[str, Sequence[Hit]], tuple[str, float]]:
    """(question, hits) -> the answer and the milliseconds to its first token."""
    model = ChatOpenAI(
        model=generator.model,
        base_url=generator.address,
        api_key=generator.key,  # type: ignore[arg-type]
        temperature=generator.temperature,
        max_tokens=generator.max_tokens,  # type: ignore[call-arg]
    )
    chain = PROMPT | model | StrOutputParser()

    def answer(question: str, hits: Sequence[Hit]) -> tuple[str, float]:
        began = time.perf_counter()
        context = "\n\n".join(hit.shown or hit.passage.text for hit in hits)
        first, text = 0.0, ""
        for piece in chain.stream({"question": question, "context": context}):
            first = first or 1000 * (time.perf_counter() - began)
            text += piece
        return text, round(first, 3)

    return answer
