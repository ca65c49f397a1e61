"""A question -> what was found, the answer as it is written, and its checked citations; abstains without asking the
model where nothing near the question was found.

Whatever computes (embedding, searching, counting tokens) runs in `workers`, off the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from opentelemetry import trace

from .citations import Checked, check
from .config import Config
from .counting import Message, bound
from .llm import Generator, Usage
from .prompt import Limits, Prompt, Source, build
from .types import Hit, Problem, Store, Vectors, Where, as_searched

T = TypeVar("T")
KEPT_SOURCES = 10_000
tracer = trace.get_tracer("rag")


class Found(Protocol):
    hits: list[Hit]
    timings_ms: dict[str, float]


class Search(Protocol):
    def search(
        self,
        query: str,
        k: int | None = None,
        where: Where | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        history: Sequence[dict[str, str]] = (),
    ) -> Found: ...


class Embedder(Protocol):
    def passages(self, texts: list[str]) -> Vectors: ...
    def queries(self, texts: list[str]) -> Vectors: ...
    def query(self, text: str) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Question:
    """`settings` are those of the generation that a caller may choose; `where` filters on metadata."""

    text: str
    earlier: tuple[Message, ...] = ()
    k: int | None = None
    where: Where | None = None
    overrides: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """`best` is the cosine of the question and the nearest passage. Of the generator's messages it is the first."""

    hits: tuple[Hit, ...]
    sources: dict[str, Source]
    best: float
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Delta:
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """`used` are the passages by their numbers, from 1; `abstained` says that the model was not asked."""

    text: str
    used: tuple[Hit, ...]
    sources: dict[str, Source]
    checked: list[Checked]
    usage: Usage
    timings_ms: dict[str, float]
    best: float
    abstained: bool


class Pipeline:
    """Lives as long as the service. `generator` is None where the recipe has retrieval alone."""

    def __init__(
        self,
        config: Config,
        store: Store,
        search: Search,
        embedder: Embedder,
        generator: Generator | None,
        workers: Executor,
    ) -> None:
        self.config, self.store, self.retriever, self.embedder = config, store, search, embedder
        self.generator, self.workers = generator, workers
        self._known: tuple[int, dict[str, Source]] = (-1, {})
        self._counter: tuple[Any, tuple[str, ...]] | None = None

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.workers, work, *arguments)

    async def retrieve(self, question: Question) -> Retrieved:
        """Raises Unavailable where the store is not there."""
        with tracer.start_as_current_span("retrieve"):
            return await self.run(self._retrieve, question)

    def _retrieve(self, question: Question) -> Retrieved:
        # a caller narrows what the recipe lets be found, and never widens it
        where = {**(question.where or {}), **(self.config.retrieval.get("where") or {})}
        found = self.retriever.search(
            question.text, question.k, where or None, question.overrides, history=question.earlier
        )
        timings = dict(found.timings_ms)
        timings["retrieve"] = timings.pop("total", 0.0)
        began = time.perf_counter()
        sources = self._sources(found.hits)
        best = self._best(question.text, found.hits, sources)
        timings["sources"] = _ms(began)
        return Retrieved(tuple(found.hits), sources, best, timings)

    def _sources(self, hits: list[Hit]) -> dict[str, Source]:
        """Kept until the index changes: a document comes with all of its text."""
        generation = self.store.generation()
        if generation != self._known[0] or len(self._known[1]) > KEPT_SOURCES:
            self._known = (generation, {})
        known = self._known[1]
        for name in {hit.passage.document for hit in hits} - known.keys():
            document = self.store.document(name)
            known[name] = Source(document.title or name, document.uri) if document else Source(name, "")
        return {hit.passage.document: known[hit.passage.document] for hit in hits}

    def _best(self, question: str, hits: list[Hit], sources: Mapping[str, Source]) -> float:
        """Where words alone were searched for there is no cosine yet, and the best of what was found is compared."""
        known = [hit.scores["dense"] for hit in hits if "dense" in hit.scores]
        if known or not hits:
            return max(known, default=0.0)
        near = [hit.passage for hit in hits[:3]]
        vectors = self.embedder.passages([as_searched(sources[p.document].title, p.heading, p.text) for p in near])
        return float((vectors @ self.embedder.query(question)).max())

    async def answer(self, question: Question) -> AsyncIterator[Retrieved | Delta | Done]:
        """What was found, then pieces of the answer, then all of it. Raises Unavailable and TooLong."""
        generator = self.generator
        if generator is None:
            raise Problem("this service has no language model: the recipe has no `generator`; ask /v1/retrieve")
        began = time.perf_counter()
        retrieved = await self.retrieve(question)
        timings = dict(retrieved.timings_ms)
        yield retrieved
        told = self.config.answer
        if not retrieved.hits or retrieved.best < float(told["abstain_below"]):
            timings["first_token"] = timings["total"] = _ms(began)
            yield Delta(told["not_found"])
            yield Done(told["not_found"], (), {}, [], Usage(), timings, retrieved.best, True)
            return
        prompt = await self._timed("prompt", timings, self._prompt, question, retrieved, generator)
        text, usage = "", Usage()
        span = tracer.start_span("generate")  # not the current one: what reads us runs in between
        try:
            async for piece in generator.stream(prompt.messages, dict(question.settings), usage):
                if not text:
                    timings["first_token"] = _ms(began)
                text += piece
                yield Delta(piece)
        finally:
            span.end()
        checked = await self._timed("check", timings, self._check, text, prompt, retrieved)
        usage.prompt = usage.prompt or prompt.tokens
        timings["total"] = _ms(began)
        yield Done(text, prompt.used, retrieved.sources, checked, usage, timings, retrieved.best, False)

    async def _timed(self, stage: str, timings: dict[str, float], work: Callable[..., T], *arguments: Any) -> T:
        began = time.perf_counter()
        with tracer.start_as_current_span(stage):
            result = await self.run(work, *arguments)
        timings[stage] = _ms(began)
        return result

    def _prompt(self, question: Question, retrieved: Retrieved, generator: Generator) -> Prompt:
        if self._counter is None:
            found = generator.counter()
            # a bound because the endpoint was not there yet is no answer for good
            self._counter = found if found[0] is not bound else None
            count, special = found
        else:
            count, special = self._counter
        limits = Limits(generator.context_length - generator.max_tokens, count, special)
        return build(question.text, retrieved.hits, retrieved.sources, self.config.answer, limits, question.earlier)

    def _check(self, text: str, prompt: Prompt, retrieved: Retrieved) -> list[Checked]:
        told = self.config.answer
        titles = {name: source.title for name, source in retrieved.sources.items()}
        return check(text, prompt.used, titles, self.embedder, float(told["support_at"]), told["not_found"])


def _ms(began: float) -> float:
    return round(1000 * (time.perf_counter() - began), 3)
