"""`python -m rag serve rag.json`: what was ingested, behind the service, until it is asked to stop; refuses at the
start what would disagree later."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

from .answer import Pipeline
from .batched import Batched
from .config import Config, read_config
from .embed import Embedder, open_embedder
from .index import open_index
from .ingest import UPLOADS, ingest
from .llm import Generator
from .retrieve import Retriever
from .service.app import Service, make_app
from .service.doors import Doors
from .service.key import read_key, refuse_open
from .service.masking import Masking
from .service.telemetry import trace_to
from .service.uploads import Ingest, keep
from .types import Problem, Store, Unavailable

# that answers under way have when it is asked to stop
DRAIN_S = 15
# from an answer's end until the page shows it
LAST_WORDS_S = 1.0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m rag serve")
    parser.add_argument("config", type=Path, metavar="rag.json")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given = parser.parse_args(argv)
    config = read_config(given.config)
    told = config.service | {k: v for k, v in (("host", given.host), ("port", given.port)) if v is not None}
    config = dataclasses.replace(config, service=told)
    key = read_key(told.get("api_key_file"))
    refuse_open(told["host"], key)
    listening = _listen(told["host"], int(told["port"]))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    masking = Masking(Path(), {**os.environ, "RAG_KEY": key or ""})
    with ThreadPoolExecutor(int(told["max_concurrent"]), thread_name_prefix="work") as workers:
        embedder = open_embedder(config)
        pipeline = open_pipeline(config, embedder, workers)
        try:
            asyncio.run(_serve(pipeline, embedder, key, listening))
        finally:
            pipeline.store.close()
            masking.close()
    return 0


def open_pipeline(config: Config, embedder: Embedder, workers: ThreadPoolExecutor) -> Pipeline:
    """Raises Problem: an index made with other settings, a model with a shorter context. A language model that is not
    there yet is waited for by `/health/ready`."""
    generator = Generator(config) if config.generator else None
    store = open_index(config)
    if not store.counts().passages:
        raise Problem(f"the index of {config.name} is empty: `runner run {config.name}` ingests what it names")
    batched = Batched(embedder)
    search = Retriever(config, store, batched, generator.ask if generator else None)
    embedder.warm()
    search.warm()
    if generator is not None:
        try:
            generator.check()
        except Unavailable as problem:
            print(f"{problem}; it is looked for again", flush=True)
    return Pipeline(config, store, search, batched, generator, workers)


async def _serve(pipeline: Pipeline, embedder: Embedder, key: str | None, listening: socket.socket) -> None:
    told, config = pipeline.config.service, pipeline.config
    service = Service(pipeline, config.name, _ingest(config, pipeline.store, embedder))
    app = make_app(service)
    trace_to(told.get("otlp_endpoint"), app, config.name)
    page: Any = None
    if told["page"] and pipeline.generator is not None:
        from .service.page import mount

        page = mount(app, service, key)
    server = uvicorn.Server(
        uvicorn.Config(
            Doors(app, key, service.count),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=DRAIN_S,
            server_header=False,
            lifespan="on",
        )
    )
    ends = asyncio.create_task(_drain(server, service, page))
    host, port = listening.getsockname()[:2]
    print(f"serving {config.name} on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    await server.serve(sockets=[listening])
    ends.cancel()


async def _drain(server: uvicorn.Server, service: Service, page: Any) -> None:
    """A page that is open in a browser holds a connection for as long as it is, and letting go of it ends the answer
    that is being written there: that is waited for."""
    while not server.should_exit:
        await asyncio.sleep(0.2)
    print("stopping: answers under way come to their end", file=sys.stderr, flush=True)
    service.stop()
    if page is None:
        return
    end = asyncio.get_running_loop().time() + DRAIN_S - 2 * LAST_WORDS_S
    while service.busy and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.1)
    await asyncio.sleep(LAST_WORDS_S)
    page.stop_event.set()


def _ingest(config: Config, store: Store, embedder: Embedder) -> Callable[[Ingest], dict[str, Any]]:
    def work(asked: Ingest) -> dict[str, Any]:
        return dataclasses.asdict(ingest(config, store, embedder, keep(config.folder / UPLOADS, asked)))

    return work


def _listen(host: str, port: int) -> socket.socket:
    """Before minutes are spent. Raises Problem."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        raise Problem(f"can't listen on {host}, port {port}: {error.strerror or error}") from None
    return listening
