"""Labelled questions x variants of retrieval -> what each finds, how fast, and how it differs from the first."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import labelled, register
from ..chains import framework
from ..config import Config, read_config
from ..retrieve import Retriever, settled
from ..types import Hit, Problem
from . import reading, report
from .answered import answer
from .beir import Questions, read
from .indexed import indexed
from .measure import Scores, scores

REGISTER = "register"
FIRST = "as written"
CUTS = (1, 3, 5, 10)
# several passages of one document count as one: more are looked at than documents are wanted
PASSAGES_PER_DOCUMENT = 5
WARM = 3  # questions before time is taken
TOLD_S = 15.0


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    overrides: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    variant: Variant
    ranked: dict[str, list[str]]  # question -> documents, best first
    scores: Scores
    times: dict[str, list[float]]  # stage -> milliseconds of each question


def evaluate(file: Path) -> None:
    """Raises Problem."""
    config = read_config(file)
    asked = labelled_questions(config)
    with indexed(config, asked.folder) as (retriever, about):
        outcomes = compare(retriever, asked, variants(config), cuts(config))
        if config.framework:
            through = framework(config.framework).searching(retriever)
            outcomes.append(_outcome(through, asked, Variant(f"through {config.framework}", {}), cuts(config)))
        answers = answer(config, retriever, asked) if config.generator else []
        read = reading.read(config, retriever, asked) if config.evaluation.get("reading") else []
        attacks = _attacks(config, retriever, asked)
    report.write(config, asked, outcomes, about, answers, read, attacks)


def _attacks(config: Config, retriever: Retriever, asked: Questions) -> list[dict[str, Any]]:
    if not (config.generator and config.evaluation.get("attacks")):
        return []
    from .attacked import attack  # the page's HTML comes with it

    return attack(config, retriever, asked)


def labelled_questions(config: Config) -> Questions:
    """Those of `evaluation.questions`: a BEIR folder; or `stdlib`, made from those modules that the recipe indexes, or
    `packages`, from other docstrings, and `stdlib:1000` for so many of their documents; or `register`, about people who
    don't exist. Raises Problem."""
    given = config.evaluation.get("questions")
    if not given:
        raise Problem("the recipe has no `evaluation.questions`")
    name, _, size = str(given).partition(":")
    if name in labelled.SHELVES and (not size or size.isdigit()):
        folder = config.folder / "questions"
        shelf: dict[str, Any] = next((source for source in config.sources if source.get("stdlib")), {})
        labelled.write(folder, int(size) if size else None, shelf.get("include"), shelf.get("exclude"), name)
    elif given == REGISTER:
        folder = config.folder / "questions"
        register.write(folder)
    else:
        folder = Path(given) if Path(given).is_absolute() else config.folder / given
    return read(folder, config.evaluation.get("limit"), config.seed)


def variants(config: Config) -> list[Variant]:
    """The recipe's own retrieval first, then its `evaluation.variants`."""
    return [Variant(FIRST, {}), *(Variant(v["name"], v["retrieval"]) for v in config.evaluation.get("variants") or [])]


def cuts(config: Config) -> list[int]:
    return sorted(config.evaluation.get("k") or CUTS)


def compare(retriever: Retriever, asked: Questions, variants: Sequence[Variant], cuts: Sequence[int]) -> list[Outcome]:
    return [_outcome(retriever, asked, variant, cuts) for variant in variants]


def _outcome(retriever: Retriever, asked: Questions, variant: Variant, cuts: Sequence[int]) -> Outcome:
    k = max(cuts) * PASSAGES_PER_DOCUMENT
    # surroundings are for the model that answers: which documents are found is the same without them
    overrides = {**variant.overrides, "expand": None}
    rerank = settled(retriever.settings, overrides)["rerank"]
    if rerank:
        overrides["rerank"] = {**rerank, "top_n": None}  # what is not kept has a rank all the same
    for text in list(asked.texts.values())[:WARM]:
        retriever.search(text, k, overrides=overrides)
    ranked: dict[str, list[str]] = {}
    times: dict[str, list[float]] = {}
    told = time.monotonic()
    for n, (question, text) in enumerate(asked.texts.items(), 1):
        found = retriever.search(text, k, overrides=overrides)
        ranked[question] = documents(found.hits, question, asked.relevant[question])
        for stage, ms in found.timings_ms.items():
            times.setdefault(stage, []).append(ms)
        if time.monotonic() - told > TOLD_S:
            told = time.monotonic()
            print(f"{variant.name}: {n} of {len(asked.texts)} questions", file=sys.stderr, flush=True)
    return Outcome(variant, ranked, scores(ranked, asked.relevant, cuts), times)


def documents(hits: Iterable[Hit], question: str, relevant: Mapping[str, int]) -> list[str]:
    """Each once, by its best passage. In some of BEIR's sets (ArguAna, Quora) the question is itself one of the
    documents, which is no answer to it: BEIR's own evaluation leaves that out too."""
    found = dict.fromkeys(hit.passage.document for hit in hits)
    if question not in relevant:
        found.pop(question, None)
    return list(found)
