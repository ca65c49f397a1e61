"""Retrieval that asks a real served model to rank and to rewrite; runs in the rag environment, prints facts as JSON.

`python rag_asker.py URL MODEL`, with the key in ENDPOINT_KEY. The store is in memory; the model says what it says, and
what retrieval makes of that is told.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from rag.config import Config
from rag.llm import Generator
from rag.retrieve import Retriever
from rag.types import Passage, Problem
from rag_memory import Memory, WordVectors

URL, MODEL = sys.argv[1:3]
QUESTION = "boats on the quay"
PLACES = ["oven", "square", "pond", "library", "market", "church", "bridge", "mill", "tower"]


def generator(url: str, **more: Any) -> Generator:
    settings = {"endpoint": url, "model": MODEL, "context_length": 1024, "max_tokens": 80, "timeout_s": 120, **more}
    return Generator(Config("t", Path(), Path(), [], {}, {}, {}, {}, settings))


def shelf() -> Memory:
    texts = [f"boats on the quay {'by the ' * n}{place}" for n, place in enumerate(PLACES)]
    texts.append("the harbour office opens in the morning")
    return Memory([Passage(f"p{n}", f"p{n}", 0, t, 0, len(t), 1, 1, 9) for n, t in enumerate(texts)])


def calls() -> float:
    """Requests that the server has answered since it began."""
    with urllib.request.urlopen(f"{URL}/metrics", timeout=30) as came:
        lines = came.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("vllm:request_success_total"))


def search(asks: Generator, question: str = QUESTION, **retrieval: Any) -> dict[str, Any]:
    said: list[str] = []

    def ask(messages: list[dict[str, str]]) -> str:
        said.append(asks.ask(messages))
        return said[-1]

    settings = {"mode": "bm25", "top_k": 10, **retrieval}
    before = calls()
    try:
        found = Retriever(Config("t", Path(), Path(), [], {}, {}, {}, settings), shelf(), WordVectors(), ask).search(
            question
        )
    except Problem as problem:
        return {"problem": f"{type(problem).__name__}: {problem}"}
    return {
        "names": [hit.passage.id for hit in found.hits], "said": said, "questions": found.questions,
        "calls": calls() - before, "stages": sorted(found.timings_ms),
    }  # fmt: skip


def main() -> None:
    whole, mute, gone = generator(URL), generator(URL, max_tokens=1), generator("http://127.0.0.1:9")
    rank, rewrite = {"rerank": {"by": "generator", "depth": 8}}, {"rewrite": "generator"}
    said = search(whole, **rewrite)["said"][0]
    facts = {
        "plain": search(whole), "ranked": search(whole, **rank), "unread": search(mute, **rank),
        "rewritten": search(whole, **rewrite), "same": search(whole, said, **rewrite), 
        "both": search(whole, **rank, **rewrite),
        "gone": search(gone, **rank), "gone too": search(gone, **rewrite),
    }  # fmt: skip
    print(json.dumps(facts))


main()
