"""Labelled questions -> answers of the whole pipeline, with the passages they were given, in results/answers.jsonl."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..config import Config
from ..retrieve import Retriever
from ..types import Problem
from .beir import Questions
from .report import RESULTS

ANSWERS = "answers.jsonl"
LIMIT = 100


def answer(config: Config, retriever: Retriever, asked: Questions) -> None:
    """`judge.limit` of the questions, one after another."""
    if not config.generator:
        raise Problem("`evaluation.judge` judges answers, and the recipe has no `generator`")
    rows = asyncio.run(_answers(config, retriever, asked))
    folder = config.folder / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ANSWERS).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


async def _answers(config: Config, retriever: Retriever, asked: Questions) -> list[dict[str, Any]]:
    from ..answer import Done, Pipeline, Question
    from ..llm import Generator

    limit = config.evaluation["judge"].get("limit") or LIMIT
    generator = Generator(config)
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
    finally:
        await generator.close()
    return found
