"""Facts about labelled questions and measures, for rag_retrieve_worker.py, in the rag environment."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rag import judge, labelled, words
from rag.config import Config
from rag.evaluate import beir, compare, indexed, measure
from rag.evaluate import reading as short
from rag.sources import Aside, listing
from rag.sources.reading import read as read_item
from rag.types import Hit, Passage, Problem, as_searched


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


ODD = {
    # a title alone, no title, numbers for ids, one that nobody asks about
    "corpus.jsonl": [
        {"_id": 1, "title": "Of tea", "text": ""}, {"_id": "2", "text": "Coffee", "metadata": {"year": 1900}},
        {"_id": 30, "title": None, "text": "Cocoa", "metadata": "none"}, {"_id": "q", "title": "", "text": "Water?"},
    ],
    # one without judgements, one without an answer, one that is itself a document
    "queries.jsonl": [
        {"_id": 7, "text": "hot leaves", "metadata": {"rule": 3}}, {"_id": "8", "text": "beans", "metadata": []},
        {"_id": "9", "text": "unasked"}, {"_id": "10", "text": None}, {"_id": "q", "text": "Water?"},
    ],
}  # fmt: skip
JUDGED = ["7\t1\t2", "7\t2\t1", "7\t30\t0", "8\t2\t1", "8\t99\t1", "11\t1\t1", "10\t1\t0", "q\t1\t1"]
NAMED = "query-id\tcorpus-id\tscore"


def odd(folder: Path) -> dict[str, Any]:
    """Folders as people have them: how each is read, or why it is not."""
    (folder / "qrels").mkdir(parents=True)
    plain = {name: "".join(json.dumps(row) + "\n" for row in rows).encode() for name, rows in ODD.items()}
    qrels = "\n".join(JUDGED).encode()

    def put(more: dict[str, bytes]) -> Any:
        for file in [*folder.glob("*.jsonl*"), *folder.glob("qrels/*")]:
            file.unlink()
        for name, data in {**plain, "qrels/test.tsv": qrels, **more}.items():
            if data:
                (folder / name).write_bytes(data)
        return beir.read(folder)

    packed = dict.fromkeys(plain, b"") | {f"{name}.gz": gzip.compress(data) for name, data in plain.items()}
    whole = put({})
    same = {
        "a first row of names": put({"qrels/test.tsv": NAMED.encode() + b"\n" + qrels}),
        "ends of lines of another system": put({"qrels/test.tsv": (NAMED + "\r\n" + "\r\n".join(JUDGED)).encode()}),
        "a mark of the encoding": put({name: b"\xef\xbb\xbf" + data for name, data in plain.items()}),
        "packed": put({**packed, "qrels/test.tsv": b"", "qrels/test.tsv.gz": gzip.compress(qrels)}),
    }  # fmt: skip
    row = b'{"_id": "z", "text": "t"}\n'
    wrong = {
        "no such grade": {"qrels/test.tsv": b"7\t1\thigh\n"}, "in four columns": {"qrels/test.tsv": b"7 0 1 1\n"},
        "nobody's": {"qrels/test.tsv": b"11\t1\t1\n"}, "nothing above 0": {"qrels/test.tsv": b"7\t1\t0\n"},
        "no id": {"queries.jsonl": b'{"_id": null, "text": "t"}\n'}, "twice": {"queries.jsonl": row + row},
        "a list": {"corpus.jsonl": b"[]\n"}, "no JSON": {"corpus.jsonl": b"{'_id': 1}\n"},
        "no text": {"queries.jsonl": b'{"_id": 7, "text": null}\n'}, "Latin": {"queries.jsonl": b'{"_id": "\xe9"}\n'},
        "cut off": {"corpus.jsonl": b"", "corpus.jsonl.gz": gzip.compress(plain["corpus.jsonl"])[:-9]},
        "not packed": {"corpus.jsonl": b"", "corpus.jsonl.gz": plain["corpus.jsonl"]},
    }  # fmt: skip
    said = {name: problem(lambda files=files: put(files)) for name, files in wrong.items()}
    put(packed)
    (folder / "run").mkdir()
    config = Config("odd", folder / "run", folder, [], {}, {}, {}, {"where": {"team": "tea"}})
    over = indexed.within(config, folder)
    read = [read_item(item) for item in listing.items(over.sources, folder) if not isinstance(item, Aside)]
    passage = Passage("p", "", 0, "", 0, 0, 1, 1, 0)
    hits = [Hit(replace(passage, document=name), 1.0) for name in ("q", "1", "2", "1")]
    return {
        "indexed": [[r.document.id, r.document.title, r.document.text] for r in read if r is not None],
        "year": read[1].document.meta["year"], "where": over.retrieval["where"],
        "searched": as_searched("Of tea", "", "Of tea"),
        "found": [compare.documents(hits, "q", {"1": 1}), compare.documents(hits, "q", {"q": 1})],
        "texts": whole.texts, "relevant": whole.relevant, "groups": whole.groups, "documents": whole.documents,
        "same": {name: found == whole for name, found in same.items()},
        "problems": {name: words.replace(str(folder), "F") for name, words in said.items()},
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
