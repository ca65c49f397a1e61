"""Asked in lines of JSON, answers in lines of JSON: what test_rag_store.py wants to know of jobs/rag.

Runs in the rag environment. `rag_worker.py` reads `{"do": NAME, ...}`; `rag_worker.py die CONFIG N` ingests and is
killed inside its Nth transaction.
"""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "runner/jobs"))

import numpy as np
from rag import chunk, ingest, models, move
from rag.config import read_config
from rag.embed import Embedder
from rag.index import open_index
from rag.sources import Item, Read, Unreadable, markdown, stdlib
from rag.sources.code import python
from rag.sources.listing import items
from rag.sources.reading import read
from rag.types import Document, Problem, Unavailable

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_open = {}


def cut(text, splitter="auto", size=32, overlap=8, parent=None, format="text"):
    """Passages of a text, and whether each is what stands at its place."""
    tokenizer = models.tokenizer(models.find(MODEL).folder)
    sections = {"markdown": lambda: markdown.parse(text).sections, "code": lambda: python(text)}.get(format, tuple)()
    document = Document("d", "d", "", "0", "text/plain", text, {})
    how = chunk.cutting(
        {"splitter": splitter, "chunk_size": size, "chunk_overlap": overlap, "parent_size": parent}, 254
    )
    passages, parents = chunk.cut(Read(document, sections), how, tokenizer)
    exact = all(
        text[p.start : p.end] == p.text
        and text.count("\n", 0, p.start) + 1 == p.start_line
        and p.start_line + p.text.count("\n") == p.end_line
        for p in (*passages, *parents)
    )
    counted = [len(tokenizer.encode(p.text, add_special_tokens=False).ids) for p in passages]
    return {
        "exact": exact,
        "passages": [asdict(p) for p in passages],
        "parents": [asdict(p) for p in parents],
        "counted": counted,
    }


def parse(file, format):
    """What a reader makes of a file, or why not."""
    try:
        found = read(Item(Path(file).name, Path(file).name, format, Path(file)))
    except Unreadable as why:
        return {"reason": str(why)}
    assert found is not None
    text = found.document.text
    flat = []

    def walk(sections):
        for section in sections:
            flat.append([section.heading, text[section.start : section.end]])
            walk(section.parts)

    walk(found.sections)
    return {"text": text, "title": found.document.title, "pages": list(found.document.pages), "sections": flat}


def listed(sources, folder):
    found = list(items(sources, Path(folder)))
    return {
        "ids": [i.id for i in found if isinstance(i, Item)],
        "aside": [[i.uri, i.reason] for i in found if not isinstance(i, Item)],
    }


def docstrings(name):
    file = dict(stdlib.modules())[name]
    once, again = (stdlib.parse(file.read_bytes(), name) for _ in range(2))
    return {"same": once == again, "headings": [s.heading for s in once.sections], "imported": name in sys.modules}


def opened(config, kind=None):
    key = (config, kind)
    if key not in _open:
        _open[key] = open_index(read_config(Path(config)), kind)
    return _open[key]


def closed():
    for store in _open.values():
        store.close()
    _open.clear()


def facts(config, kind=None):
    """Everything that an index holds, and a digest of it."""
    store = opened(config, kind)
    changes = list(store.scan())
    return {
        "counts": asdict(store.counts()),
        "known": sorted(store.known()),
        "digest": move.digest(changes),
        "generation": store.generation(),
        "lexicon": sorted(id_ for id_, _, _ in store.lexicon()),
        "passages": sorted(p.id for change in changes for p in change.passages),
    }


def search(config, kind=None, of=0, k=5, where=None):
    """With the vector of a passage of the index: ids and scores."""
    store = opened(config, kind)
    change = [c for c in store.scan() if len(c.passages)][of]
    found = store.dense(change.vectors[0], k, where)
    fetched = store.fetch([id_ for id_, _ in found])
    around = store.around(change.passages[0], 1, 1)
    parents = store.fetch([fetched[id_].parent or "" for id_, _ in found])
    return {
        "asked": change.passages[0].id,
        "found": found,
        "meta": [fetched[id_].meta for id_, _ in found],
        "around": [p.ordinal for p in around],
        "parents": [fetched[id_].parent for id_, _ in found],
        "shown": {id_: p.text for id_, p in parents.items()},
    }


def full_text(config, query, k=3, where=None):
    store = opened(config)
    found = store.full_text(query, k, where)
    fetched = store.fetch([id_ for id_, _ in found])
    return [fetched[id_].text for id_, _ in found]


def ingested(config):
    return asdict(ingest.ingest(read_config(Path(config))))


def moved(config, to):
    read = read_config(Path(config))
    return move.move(read, move.destination(read, to)).digest


def held(config):
    """Another ingest while one is going on."""
    with opened(config).ingesting():
        try:
            ingest.ingest(read_config(Path(config)))
        except Problem as problem:
            return str(problem)
    return None


def outage(config):
    """Its PostgreSQL killed under an open store: what is said, and how long until it answers again."""
    store = opened(config)
    vector = next(c for c in store.scan() if len(c.passages)).vectors[0]
    before = store.dense(vector, 3)
    pid = int((Path(config).parent / "index/postgres/data/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    began, said = time.monotonic(), []
    while time.monotonic() - began < 60:
        try:
            after = store.dense(vector, 3)
            if said:
                return {"said": said[0], "seconds": time.monotonic() - began, "same": before == after}
        except Unavailable as problem:
            said.append(str(problem))
        time.sleep(0.05)
    return {"said": said[:1], "seconds": None, "same": False}


def away(config, server):
    """A server by its URL stopped and started again by others: how long a search takes to say so, and to find it."""
    store, owner = opened(config), opened(server)
    vector = next(store.scan()).vectors[0]
    before = store.dense(vector, 1)
    pid = int((Path(server).parent / "index/postgres/data/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    said, waits, began = [], [], time.monotonic()
    while len(said) < 3 and time.monotonic() - began < 60:
        asked = time.monotonic()
        try:
            store.dense(vector, 1)
        except Unavailable as problem:
            said.append(str(problem))
            waits.append(time.monotonic() - asked)
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            owner.check()
            return {"said": said, "waits": waits, "same": store.dense(vector, 1) == before}
        except Unavailable:
            time.sleep(0.05)
    return {"said": said, "waits": waits, "same": False}


def embedding(texts, cache):
    """Against sentence-transformers' own, then out of the cache by a second embedder that loads no model."""
    from sentence_transformers import SentenceTransformer

    settings = {"model": MODEL, "batch_size": 8, "max_length": 256}
    ours = Embedder(settings, Path(cache))
    theirs = SentenceTransformer(str(models.find(MODEL).folder)).encode(texts, normalize_embeddings=True)
    first = ours.passages(texts)
    ours.close()
    again = Embedder(settings, Path(cache))
    second = again.passages(texts)
    return {
        "apart": float(np.abs(first - theirs).max()),
        "cached": bool((first == second).all()) and again._loaded is None,
        "identity": again.identity,
        "length": float(np.abs(np.linalg.norm(first, axis=1) - 1).max()),
    }


def die(config, nth):
    from rag.stores import postgres

    ingest.AT_ONCE, copy_in, times = 8, postgres.copy_in, []

    def copy_and_die(connection, changes):
        copy_in(connection, changes)
        times.append(1)
        if len(times) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    postgres.copy_in = copy_and_die
    ingest.ingest(read_config(Path(config)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["die"]:
        die(sys.argv[2], int(sys.argv[3]))
        sys.exit()
    asked = {f.__name__: f for f in (cut, parse, listed, docstrings, closed, facts, search, full_text, held, outage)}
    asked |= {f.__name__: f for f in (away, embedding, ingested, moved)}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # progress is no answer
                answer = {"ok": asked[request.pop("do")](**request)}
        except Problem as problem:
            answer = {"problem": str(problem), "unavailable": isinstance(problem, Unavailable)}
        print(json.dumps(answer), flush=True)
    closed()
