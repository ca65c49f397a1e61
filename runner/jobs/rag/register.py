"""The register of people who don't exist (jobs/facts.py) -> documents and questions with their answers, in BEIR's
format: pages of several people each, and of each person one question."""

from __future__ import annotations

import json
from pathlib import Path

import facts


def write(folder: Path) -> None:
    """corpus.jsonl, qrels/test.tsv, and queries.jsonl with `answers`, and with the person's group as `rule`."""
    made = facts.register()
    seen = {each.name for each in made.seen}
    documents, questions, right = [], [], []
    for number, people in enumerate(made.pages, 1):
        page = f"page-{number}"
        documents.append({"_id": page, "title": facts.TITLE, "text": facts.told(people)})
        for n, each in enumerate(people):
            name = f"{page}-{n}"
            what = list(facts.VALUES)[(number + n) % len(facts.VALUES)]
            told = {"rule": "seen" if each.name in seen else "new", "answers": [each.facts[what]]}
            questions.append({"_id": name, "text": facts.question(each.name, what), "metadata": told})
            right.append(f"{name}\t{page}\t1\n")
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for file, rows in (("corpus.jsonl", documents), ("queries.jsonl", questions)):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(right))
