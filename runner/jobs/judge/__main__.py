"""Reads judge.json, asks about every pair in both orders, and leaves what came of it."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import Problem
from .ask import Judge
from .pairs import Pair, read_pairs
from .verdict import PROMPT, count, outcome, verdict


def main() -> None:
    try:
        judge(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
    except Problem as problem:
        sys.exit(f"judge: error: {problem}")


def judge(config: dict[str, Any], results: Path) -> None:
    against = Path(config["against"]) if config.get("against") else None
    pairs = read_pairs(results, against, config["tasks"], config.get("limit"))
    asked = Judge(config)
    prompt = config.get("prompt") or PROMPT
    with ThreadPoolExecutor(config.get("num_concurrent") or 16) as pool:
        rows = list(pool.map(lambda pair: both_orders(asked, prompt, pair), pairs))
    if all(row["error"] for row in rows):
        raise Problem(f"the judge answered none of {len(rows)} pairs: {rows[0]['error']}")
    with (results / "verdicts.jsonl").open("w") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    found = {"against": config.get("against"), "judge": asked.model, **count(rows, config.get("seed") or 0)}
    (results / "judge.json").write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['wins']} wins, {found['ties']} ties, {found['losses']} losses of {found['n']} pairs; "
        f"{found['unparsed']} verdicts could not be read; first place preferred by {found['position_bias']}",
        flush=True,
    )


def both_orders(asked: Judge, prompt: str, pair: Pair) -> dict[str, Any]:
    """Ours is answer A first, answer B then."""
    said, error = [], None
    for first, second in ((pair.ours, pair.theirs), (pair.theirs, pair.ours)):
        # not str.format: answers may hold braces, and each is put in once
        parts = {"{question}": pair.question, "{answer_a}": first, "{answer_b}": second}
        try:
            said.append(asked.ask(fill(prompt, parts)))
        except OSError as problem:
            said.append("")
            error = str(problem)
    verdicts = [verdict(text) for text in said]
    return {
        "task": pair.task,
        "doc_hash": pair.document,
        "ours": pair.ours,
        "theirs": pair.theirs,
        "said": said,
        "verdicts": verdicts,
        "outcome": outcome(*verdicts),
        "error": error,
    }


def fill(prompt: str, parts: dict[str, str]) -> str:
    for at in range(len(prompt)):
        for name, text in parts.items():
            if prompt.startswith(name, at):
                return prompt[:at] + text + fill(prompt[at + len(name) :], parts)
    return prompt


if __name__ == "__main__":
    main()
