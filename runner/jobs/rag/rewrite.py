"""A question as a person asks it -> words to search by, from the language model, or None."""

from __future__ import annotations

from collections.abc import Sequence

from .rerank import Ask

INSTRUCTION = """You turn the last question of a conversation into a query for a search engine over documents. Put in \
what `it` or `that` stands for, leave out politeness, add the technical terms that a document would use. Do not answer \
the question. Write the query alone, on one line."""
LONGEST = 400  # characters; more is an answer, and no query
TURNS = 6


def rewrite(ask: Ask, question: str, history: Sequence[dict[str, str]] = ()) -> str | None:
    """None where the model wrote nothing that can be searched by, or only the question again."""
    turns = [f"{turn['role']}: {turn['content']}" for turn in history[-TURNS:] if turn["role"] in ("user", "assistant")]
    asked = "\n".join([*turns, f"question: {question}"])
    said = ask([{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": asked}])
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    line = line.removeprefix("query:").removeprefix("Query:").strip().strip("\"'`").strip()
    return line if line and len(line) <= LONGEST and line.casefold() != question.strip().casefold() else None
