"""A pipeline -> its routes. What a person can mend is told in OpenAI's shape of an error; what passes is a 503 with
Retry-After, and nothing is kept from before: the next request finds the store or the model back."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ..answer import Delta, Done, Pipeline, Question
from ..types import Problem, Unavailable
from . import wire
from .gate import Full, Gate
from .health import Health
from .state import State
from .telemetry import TYPE, Metrics
from .uploads import Ingest

T = TypeVar("T")
RETRY_S = 5
# nobody reads it: whoever asked has hung up
GONE = Response(status_code=499)
# pieces of an answer that its reader has not taken yet
QUEUED = 64
PATHS = (
    "/v1/chat/completions", "/v1/retrieve", "/v1/ingest", "/v1/models",
    "/health", "/health/live", "/health/ready", "/metrics",
)  # fmt: skip


class Service:
    """What the routes share. `name` is what clients call the model; `ingest` answers with how much was new, changed and
    gone."""

    def __init__(self, pipeline: Pipeline, name: str, ingest: Callable[[Ingest], dict[str, Any]]) -> None:
        told = pipeline.config.service
        self.pipeline, self.name, self.ingest = pipeline, name, ingest
        self.timeout_s = float(told["timeout_s"])
        self.gate = Gate(int(told["max_concurrent"]), int(told["max_waiting"]))
        self.metrics = Metrics(self.gate)
        self.state = State()
        self.health = Health(pipeline, self.metrics, self.state)
        self.ingesting = asyncio.Lock()
        self.began = int(time.time())
        self.stopping = False

    def stop(self) -> None:
        """No new questions; those under way go on."""
        self.stopping = True
        self.state.stopping(self.health.missing)

    @property
    def busy(self) -> bool:
        return self.gate.inside + self.gate.waiting > 0

    async def answer(self, question: Question) -> AsyncGenerator[Delta | Done, None]:
        """Through the gate and within the time. Raises Full, Unavailable, TimeoutError.

        In a task of its own, which a time-out can end wherever the events are read, and which ends with its reader.
        """
        if self.stopping:
            raise Unavailable("the service is being stopped")
        events: asyncio.Queue[Delta | Done | Exception | None] = asyncio.Queue(QUEUED)
        task = asyncio.create_task(self._work(question, events))
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _work(self, question: Question, events: asyncio.Queue[Delta | Done | Exception | None]) -> None:
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                self.gate.place(),
                aclosing(self.pipeline.answer(question)) as answered,
            ):
                async for event in answered:
                    if isinstance(event, Done):
                        self.metrics.done(event)
                    if isinstance(event, (Delta, Done)):
                        await events.put(event)
            await events.put(None)
        except Exception as error:
            await events.put(error)

    def count(self, path: str, status: int) -> None:
        """Of paths that are ours by their names; who asks for others does not make the table long."""
        self.metrics.requests.labels(path if path in PATHS else "page", status).inc()


def make_app(service: Service) -> FastAPI:
    """Without the page, which page.py mounts, and without the doors before it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(service.health.keep_looking())
        yield
        looking.cancel()
        await looking
        if service.pipeline.generator is not None:
            await service.pipeline.generator.close()

    # no pages of documentation: they would load their scripts from elsewhere
    app = FastAPI(title=service.name, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    _errors(app, service)
    _asking(app, service)
    _looking(app, service)
    return app


def _asking(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat(body: wire.Chat, request: Request) -> Response:
        question = body.question()
        name = f"chatcmpl-{request.state.request}"
        events = service.answer(question)
        if not body.stream:
            done = await while_there(request, _last(events))
            return GONE if done is None else JSONResponse(wire.completion(name, service.name, done))
        # the first piece comes before the headers do, so that what is refused has a status of its own
        first = await while_there(request, anext(events))
        if first is None:
            return GONE
        usage = bool(body.stream_options and body.stream_options.include_usage)
        lines = _stream(service, name, first, events, usage)
        return StreamingResponse(lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    @app.post("/v1/retrieve")
    async def retrieve(body: wire.Retrieve) -> dict[str, Any]:
        if service.stopping:
            raise Unavailable("the service is being stopped")
        async with asyncio.timeout(service.timeout_s), service.gate.place():
            found = await service.pipeline.retrieve(body.question())
        service.metrics.timings(found.timings_ms)
        return {
            "query": body.query,
            "best_similarity": round(found.best, 4),
            "passages": wire.passages(found.hits, found.sources),
            "timings_ms": found.timings_ms,
        }

    @app.post("/v1/ingest")
    async def ingest(body: Ingest) -> dict[str, Any]:
        if service.ingesting.locked():
            raise wire.Refused("an ingest is going on", 409, "conflict_error")
        async with service.ingesting:
            return await asyncio.to_thread(service.ingest, body)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": service.name, "object": "model", "created": service.began, "owned_by": "rag"}
        return {"object": "list", "data": [model]}


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What it comes to; None, and the work cancelled, where whoever asked has hung up before."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _last(events: AsyncGenerator[Delta | Done, None]) -> Done:
    async with aclosing(events):
        (done,) = [event async for event in events if isinstance(event, Done)]
    return done


async def _stream(
    service: Service, name: str, first: Delta | Done, events: AsyncGenerator[Delta | Done, None], usage: bool
) -> AsyncIterator[str]:
    def line(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> str:
        return f"data: {json.dumps(wire.chunk(name, service.name, delta, finish, **more), ensure_ascii=False)}\n\n"

    yield line({"role": "assistant", "content": ""})
    event: Delta | Done | None = first
    try:
        while event is not None:
            if isinstance(event, Delta):
                yield line({"content": event.text})
            else:
                yield line({}, event.usage.finish, rag=wire.told(event))
                if usage:
                    yield line(None, usage=wire.usage(event))
            event = await anext(events, None)
    except (Problem, TimeoutError) as problem:
        # too late for a status
        service.metrics.rejected.labels("mid_stream").inc()
        said = str(problem) or f"it took longer than {service.timeout_s:g} s"
        yield f"data: {json.dumps(wire.error(said, 'service_unavailable'))}\n\n"
        return
    finally:
        await events.aclose()  # whoever has hung up frees the place at once
    yield "data: [DONE]\n\n"


def _looking(app: FastAPI, service: Service) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready")
    @app.get("/health")
    async def ready() -> JSONResponse:
        well = await service.health.look()
        parts = {part: said or "ok" for part, said in service.health.told.items()}
        body = {"status": "ready" if well else "unavailable", **parts}
        return JSONResponse(body, 200 if well else 503, None if well else {"Retry-After": str(RETRY_S)})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=TYPE)


def _errors(app: FastAPI, service: Service) -> None:
    def unavailable(said: str, reason: str, after: int) -> JSONResponse:
        service.metrics.rejected.labels(reason).inc()
        return JSONResponse(wire.error(said, "service_unavailable", reason), 503, {"Retry-After": str(after)})

    @app.exception_handler(Problem)
    async def problem(request: Request, found: Problem) -> JSONResponse:
        if isinstance(found, Full):
            return unavailable(str(found), "full", found.retry_after_s)
        if isinstance(found, Unavailable):
            return unavailable(str(found), "unavailable", RETRY_S)
        if isinstance(found, wire.Refused):
            return JSONResponse(wire.error(str(found), found.kind), found.status)
        return JSONResponse(wire.error(str(found), "invalid_request_error"), 400)

    @app.exception_handler(TimeoutError)
    async def late(request: Request, found: TimeoutError) -> JSONResponse:
        return unavailable(f"it took longer than {service.timeout_s:g} s", "timeout", RETRY_S)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, found: RequestValidationError) -> JSONResponse:
        first = found.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
        return JSONResponse(wire.error(f"{where}: {first['msg']}", "invalid_request_error"), 400)

    @app.exception_handler(Exception)
    async def ours(request: Request, found: Exception) -> JSONResponse:
        name = request.state.request
        logging.getLogger("rag").error("request %s", name, exc_info=found)
        return JSONResponse(wire.error(f"a bug of this service; its log has it under {name}", "server_error"), 500)
