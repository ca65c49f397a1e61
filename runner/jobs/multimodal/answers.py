"""A model x questions about pictures -> its greedy answers, and the share that is right, beside what guessing gets.

The model is a folder, loaded by transformers, or a served one. An answer is right where it is the row's own, up to case
and a full stop. Guessing always says a question's commonest answer.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .problem import Problem
from .sources import Message, conversations, is_made_here

FOLDER = Path("questions")
BATCH = 16
# of questions that are asked of at least so many pictures accuracy is told apart
ASKED_OFTEN = 20

Answer = Callable[[list[list[Message]]], list[str]]


def ask(config: dict[str, Any]) -> None:
    from .model import from_folder
    from .served import from_server

    rows = list(_rows(config))
    if not rows:
        raise Problem("no questions")
    answer = from_server(config) if config.get("endpoint") else from_folder(config)
    asked, wanted = [messages[:-1] for messages in rows], [_text(messages[-1]) for messages in rows]
    started = time.monotonic()
    given = [text for i in range(0, len(asked), BATCH) for text in answer(asked[i : i + BATCH])]
    found = [
        {"question": _question(a), "picture": _pictures(a), "wanted": w, "given": g, "right": same(w, g)}
        for a, w, g in zip(asked, wanted, given, strict=True)
    ]
    scores = score(found) | {"questions_per_s": len(found) / (time.monotonic() - started)}
    headline = f"{scores['accuracy']:.1%} of {len(found)} answers right, guessing gets {scores['chance']:.1%}"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "answers.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found))
    summary = {"questions": len(found), "through": "vllm" if config.get("endpoint") else "transformers", **scores}
    (FOLDER / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    with Path("metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"time": time.time(), **scores, "headline": headline}) + "\n")
    print(headline, flush=True)


def _rows(config: dict[str, Any]) -> Iterator[list[Message]]:
    limit = config.get("limit")
    for item in config["datasets"]:
        if not is_made_here(item):
            raise Problem(f"{item['path']}: questions are read from local JSON files, or drawn; save it as one")
        for number, (_, messages) in enumerate(conversations(item, FOLDER / "pictures")):
            if limit is not None and number >= limit:
                break
            yield messages


def score(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of all questions together, and of each that is asked often."""
    by: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by[row["question"]].append(row)
    guessed = sum(max(Counter(normal(r["wanted"]) for r in group).values()) for group in by.values())
    found = {"accuracy": sum(r["right"] for r in rows) / len(rows), "chance": guessed / len(rows)}
    often = {question: group for question, group in by.items() if len(group) >= ASKED_OFTEN}
    for question, group in often.items() if len(often) > 1 else ():
        found[f"accuracy/{question}"] = sum(r["right"] for r in group) / len(group)
    return found


def same(wanted: str, given: str) -> bool:
    return normal(wanted) == normal(given)


def normal(text: str) -> str:
    return " ".join(text.strip().rstrip(".").lower().split())


def _text(message: Message) -> str:
    return " ".join(part["text"] for part in message["content"] if part["type"] == "text").strip()


def _question(messages: list[Message]) -> str:
    return _text(messages[-1])


def _pictures(messages: list[Message]) -> list[str]:
    return [Path(p["path"]).name for m in messages for p in m["content"] if p["type"] == "image"]
