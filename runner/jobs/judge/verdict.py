"""What a judge is asked, how its word is read, and what both orders come to."""

import re
from collections import Counter
from typing import Any

PROMPT = """You compare two answers to the same question and say which of them serves the person who asked better: \
correct, to the point, complete, and as it was asked for. Their order is chance, and longer is not better.

Question:
{question}

Answer A:
{answer_a}

Answer B:
{answer_b}

Give your reasons in a few sentences. Then end with your verdict on a line of its own: [[A]] if answer A is better, \
[[B]] if answer B is better, [[C]] if neither is."""

_VERDICT = re.compile(r"\[\[\s*([ABC])\s*\]\]")
SAMPLES = 10_000


def verdict(text: str) -> str | None:
    """`A`, `B` or `C`: the last that the judge wrote; None where it wrote none."""
    found = _VERDICT.findall(text)
    return found[-1] if found else None


def outcome(first: str | None, second: str | None) -> str:
    """`win`, `loss` or `tie` of ours, which was A in the first order and B in the second; a tie where the two verdicts
    do not agree; `unparsed` where one can't be read."""
    if first is None or second is None:
        return "unparsed"
    if (first, second) == ("A", "B"):
        return "win"
    return "loss" if (first, second) == ("B", "A") else "tie"


def count(rows: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """`win_rate` counts a tie as half, over the pairs that were judged; its interval is a bootstrap's over them.

    `position_bias` is the share of verdicts for the place that is read first, less those for the second: of a judge
    that looks at the answers alone it is nothing, since each answer stood in both. `consistent` is the share of pairs
    whose two verdicts agree.
    """
    outcomes = Counter(row["outcome"] for row in rows)
    judged = [row for row in rows if row["outcome"] != "unparsed"]
    n = len(judged)
    places = Counter(v for row in judged for v in row["verdicts"])
    agree = sum(row["outcome"] != "tie" or row["verdicts"] == ["C", "C"] for row in judged)
    found: dict[str, Any] = {
        "pairs": len(rows),
        "n": n,
        "wins": outcomes["win"],
        "ties": outcomes["tie"],
        "losses": outcomes["loss"],
        "unparsed": outcomes["unparsed"],
        "failed": sum(row["error"] is not None for row in rows),
        "win_rate": (outcomes["win"] + outcomes["tie"] / 2) / n if n else None,
        "low": None,
        "high": None,
        "consistent": agree / n if n else None,
        "position_bias": (places["A"] - places["B"]) / (2 * n) if n else None,
    }
    if n:
        found["low"], found["high"] = interval(outcomes["win"], outcomes["tie"], outcomes["loss"], seed)
    return found


def interval(wins: int, ties: int, losses: int, seed: int) -> tuple[float, float]:
    """95% of the win rates of samples of the pairs, with replacement."""
    import numpy as np

    n = wins + ties + losses
    drawn = np.random.default_rng(seed).multinomial(n, [wins / n, ties / n, losses / n], size=SAMPLES)
    rates = (drawn[:, 0] + drawn[:, 1] / 2) / n
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(low), float(high)
