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


def main() -> None:
    folder = Path(sys.argv[1])
    for name, listed in rows().items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))


if __name__ == "__main__":
    main()
