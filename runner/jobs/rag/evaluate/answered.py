"""Labelled questions -> answers of the whole pipeline, with the passages they were given, in results/answers.jsonl.

Where the recipe names a framework, the same passages are answered from through that too, for its times.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..chains import framework
from ..config import Config
from ..retrieve import Retriever
from ..types import Hit
from .beir import Questions
from .report import RESULTS

ANSWERS = "answers.jsonl"
LIMIT = 100


def answer(config: Config, retriever: Retriever, asked: Questions) -> list[dict[str, Any]]:
    """`judge.limit` of the questions, one after another. Raises Problem."""
    rows = asyncio.run(_answers(config, retriever, asked))
    folder = config.folder / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANSWERS).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return rows


def answers_wanted(evaluation: dict[str, Any]) -> int:
    given = evaluation.get("answers")
    return int(given if given is not None else (evaluation.get("judge") or {}).get("limit") or LIMIT)


async def _answers(config: Config, retriever: Retriever, asked: Questions) -> list[dict[str, Any]]:
    from ..answer import Done, Pipeline, Question
    from ..llm import Generator

    limit = answers_wanted(config.evaluation)
    generator = Generator(config)
    generator.check()
    through = framework(config.framework).answering(generator) if config.framework else None
    found = []
    try:
        with ThreadPoolExecutor(2) as workers:
            pipeline = Pipeline(config, retriever.store, retriever, retriever.embedder, generator, workers)
            for name, text in list(asked.texts.items())[:limit]:
                async for each in pipeline.answer(Question(text)):
                    if isinstance(each, Done):
                        found.append(
                            {
                                "question": name, "text": text, "answer": each.text, "abstained": each.abstained,
                                "passages": [hit.shown or hit.passage.text for hit in each.used],
                                "timings_ms": each.timings_ms,
                            }
                        )  # fmt: skip
                        if through and each.used:
                            found[-1]["through"] = _through(through, text, each.used)
    finally:
        await generator.close()
    return found


def _through(ask: Callable[..., tuple[str, float]], text: str, hits: Sequence[Hit]) -> dict[str, Any]:
    began = time.perf_counter()
    said, first = ask(text, hits)
    total = round(1000 * (time.perf_counter() - began), 3)
    return {"answer": said, "timings_ms": {"first_token": first, "total": total}}
