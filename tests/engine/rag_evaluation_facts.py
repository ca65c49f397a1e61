"""Facts about labelled questions and measures, for rag_retrieve_worker.py, in the rag environment."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rag import judge, labelled, words
from rag.evaluate import beir, measure
from rag.evaluate import reading as short
from rag.types import Problem


def problem(call: Any) -> str:
    try:
        call()
    except Problem as error:
        return str(error)
    return "no problem"


def measuring() -> dict[str, Any]:
    relevant = {"q1": {"a": 1, "b": 2}, "q2": {"c": 1}, "q3": {"d": 1}}
    ranked = {"q1": ["x", "b", "a"], "q2": ["c"]}
    found = measure.scores(ranked, relevant, [1, 3])
    rng = np.random.default_rng(0)
    first = {str(n): float(v) for n, v in enumerate(rng.normal(0, 1, 200))}
    second = {n: v + 0.5 + 0.1 * rng.normal() for n, v in first.items()}
    return {
        "scores": found,
        "twice": problem(lambda: measure.scores({"q1": ["a", "a"]}, relevant, [1])),
        "paired": measure.paired(first, second, 0),
        "same": measure.paired(first, first, 0),
    }


def reading(folder: Path) -> dict[str, Any]:
    (folder / "qrels").mkdir(parents=True)
    missing = problem(lambda: beir.read(folder))
    (folder / "corpus.jsonl").write_text('{"_id": "a", "title": "", "text": "A"}\n{"_id": "b", "text": "B"}\n')
    (folder / "queries.jsonl").write_text("".join(f'{{"_id": "q{n}", "text": "t{n}"}}\n' for n in range(9)))
    head = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels/test.tsv").write_text(head + "".join(f"q{n}\ta\t1\n" for n in range(8)) + "q0\tb\t0\n")
    every, some = beir.read(folder), beir.read(folder, 3, 1)
    (folder / "qrels/test.tsv").write_text(head + "q1\ta\n")
    short = problem(lambda: beir.read(folder))
    (folder / "qrels/test.tsv").write_text(head + "q1\tz\t1\n")
    strange = problem(lambda: beir.read(folder))
    return {
        "every": list(every.texts), "relevant": every.relevant["q0"], "some": list(some.texts),
        "problems": [p.replace(str(folder), "F") for p in (missing, short, strange)],
    }  # fmt: skip


def labelling(folder: Path) -> dict[str, Any]:
    count, rules = labelled.write(folder, 600, ["[a-h]*"])
    asked = beir.read(folder)
    rows = {row["_id"]: row for row in map(json.loads, (folder / "corpus.jsonl").read_text().splitlines())}
    stem = words.stemmer("english")

    def terms(text: str) -> set[str]:
        return {t for raw in words.raw_words(text) for t in words.terms(raw, stem)}

    named = told = 0
    for name, text in asked.texts.items():
        first = next(iter(asked.relevant[name]))
        if asked.groups[name] == "summary":
            named += bool(terms(text) & terms(rows[first]["title"]))
            told += text.casefold() in " ".join(rows[first]["text"].casefold().split())
    return {
        "count": count, "rules": rules, "questions": len(asked.texts), "named": named, "told": told,
        "known": all(d in rows for r in asked.relevant.values() for d in r),
    }  # fmt: skip


def short_answers() -> dict[str, Any]:
    """How answers of few words are compared, and questions that have none."""
    untold = beir.Questions(Path("somewhere"), 1, {"q1": "who?"}, {"q1": {"a": 1}}, {})
    config: Any = SimpleNamespace(evaluation={"reading": {"passages": [0]}})
    return {
        "plain": [short.plain(text) for text in ("The Green.", " a  red-fox ", "")],
        "contained": [short.contains(text, ["red fox"]) for text in ("It is the Red Fox!", "red foxes", "")],
        "untold": problem(lambda: short.read(config, None, untold)),
    }


def judging() -> dict[str, Any]:
    """Three answers, of which one abstains, read by a judge whose words are given here."""
    seen: list[str] = []

    def ask(prompt: str) -> str:
        seen.append(prompt)
        if "what the passages say" in prompt:
            return "It could be [[no]], but every word is there.\n[[Yes]]" if "tea" in prompt else "[[partly]]"
        return "no verdict" if "tea" in prompt else "[[no]]"

    times = {"total": 20.0, "first_token": 5.0}
    answers = [
        {"text": "what?", "answer": "tea", "abstained": False, "passages": ["hot tea"], "timings_ms": times},
        {"text": "who?", "answer": "{x}", "abstained": False, "passages": ["a", "b"], "timings_ms": times},
        {"text": "when?", "answer": "-", "abstained": True, "passages": [], "timings_ms": times},
    ]
    rows = judge.graded(answers, ask)
    return {
        "rows": [[r["faithfulness"], r["relevance"]] for r in rows],
        "asked": len(seen),
        "all": judge.summed(rows, 0),
    }
