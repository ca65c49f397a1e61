"""Makes data/smoke/*.jsonl: small, seeded, and learnable, in the shapes that each method's datasets have.

The good answers are short and follow one form; the bad ones ramble and refuse. A tiny model can tell them apart after a
few dozen steps, which is what a smoke test must be able to see.
"""

import json
import random
import sys
from pathlib import Path

COLOURS = ["red", "blue", "green", "black", "white"]
THINGS = ["cat", "dog", "bird", "boat", "house", "tree"]
# in none of the rows that are trained on
UNNAMED = ["car", "fish", "horse", "lamp", "road", "stone"]
PLACES = ["garden", "street", "forest", "harbour", "school"]
EVASIONS = [
    "i do not know that at all",
    "who can say such a thing",
    "ask somebody else about it",
    "no idea, leave me alone",
]
ROWS = 400


def question(rng: random.Random) -> tuple[str, str]:
    """A question and its good answer."""
    form = rng.randrange(3)
    if form == 0:
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        return f"What is {a} plus {b}?", f"The answer is {a + b}."
    thing, colour, place = rng.choice(THINGS), rng.choice(COLOURS), rng.choice(PLACES)
    if form == 1:
        return f"The {thing} is {colour}. What colour is the {thing}?", f"The answer is {colour}."
    return f"The {thing} is in the {place}. Where is the {thing}?", f"The answer is {place}."


def rows(seed: int = 7) -> dict[str, list[dict[str, object]]]:
    """file name -> rows."""
    rng = random.Random(seed)  # noqa: S311 - made to be the same every time
    out: dict[str, list[dict[str, object]]] = {n: [] for n in ("chat", "pairs", "orpo", "kto", "reward", "prompts")}
    for i in range(ROWS):
        asked, good = question(rng)
        bad = rng.choice(EVASIONS)
        user = {"role": "user", "content": asked}
        well, ill = {"role": "assistant", "content": good}, {"role": "assistant", "content": bad}
        out["chat"].append({"messages": [user, well]})
        out["pairs"].append({"messages": [user], "chosen": well, "rejected": ill})
        out["orpo"].append({"prompt": asked, "chosen": [user, well], "rejected": [user, ill]})
        liked = i % 2 == 0
        out["kto"].append({"system": "", "instruction": asked, "completion": good if liked else bad, "label": liked})
        out["reward"].append({"system": "", "input": asked, "chosen": good, "rejected": bad})
        out["prompts"].append({"prompt": [user]})
    return out


def held_out(seed: int = 11) -> list[dict[str, object]]:
    """Questions that no row above asks, to be answered and to be chosen between: sums that were left out, and things
    that were never named. `choices` have the same form, `gold` is the index of the right one."""
    asked_before = {str(row["input"]) for row in rows()["reward"]}
    sums = [(f"What is {a} plus {b}?", str(a + b)) for a in range(1, 10) for b in range(1, 10)]
    asked = [pair for pair in sums if pair[0] not in asked_before]
    asked += [(f"The {t} is {c}. What colour is the {t}?", c) for t in UNNAMED for c in COLOURS]
    asked += [(f"The {t} is in the {p}. Where is the {t}?", p) for t in UNNAMED for p in PLACES]
    rng = random.Random(seed)  # noqa: S311 - made to be the same every time
    out: list[dict[str, object]] = []
    for text, right in asked:
        kind = next((k for k in (COLOURS, PLACES) if right in k), [str(n) for n in range(2, 19)])
        words = [right, *rng.sample([word for word in kind if word != right], 3)]
        rng.shuffle(words)
        choices = [f"The answer is {word}." for word in words]
        answer = f"The answer is {right}."
        out.append({"question": text, "answer": answer, "choices": choices, "gold": choices.index(answer)})
    rng.shuffle(out)
    return out


def main() -> None:
    folder = Path(sys.argv[1])
    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)
    (tasks / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out()))
    for name, listed in rows().items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))


if __name__ == "__main__":
    main()
