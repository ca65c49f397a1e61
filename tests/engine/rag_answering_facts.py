"""What prompts, citations, the gate and the page do, as `FACTS` in JSON; runs in the rag environment.

`rag_answering_facts.py INJECTIONS.jsonl`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from facts import TITLE, asked, question, register, told
from rag.answer import Done
from rag.citations import check, sentences
from rag.counting import bound
from rag.defuse import MARK, defuse
from rag.embed import Embedder
from rag.evaluate import attacked as attacked_live
from rag.llm import Usage
from rag.prompt import Limits, Source, TooLong, build
from rag.service.gate import Full, Gate
from rag.service.shown import Turn, answer, conversation
from rag.types import Hit, Passage

MODEL = {"model": "sentence-transformers/all-MiniLM-L6-v2"}
TOLD = {"not_found": "That is not in the documents.", "system": None}
WIDE = Limits(100_000, bound)
QUESTION = "When does the harbour office open?"
HARBOUR = (
    "The harbour office opens at 7 in the morning and closes at 18. Boats pay 12 crowns for a night, in advance. "
    "Dogs are kept on a lead on the quay."
)
BAKERY = "The bakery on the square bakes rye bread on Tuesdays. Its oven was built in 1911 and burns beech wood."
# what the chat templates of Llama, Mistral, Qwen, Gemma and DeepSeek write
TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>",
    "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "[AVAILABLE_TOOLS]",
    "[SYSTEM_PROMPT]", "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<tool_call>", "\uff1c|im_start|\uff1e",
)  # fmt: skip


def hit(text: str, name: str = "harbour", heading: str = "", **more: Any) -> Hit:
    passage = Passage(f"{name}-0", name, 0, text, 0, len(text), 1, 1 + text.count("\n"), 40, heading=heading)
    return Hit(passage, 1.0, {"dense": 0.7}, {"dense": 1}, **more)


SOURCES = {"harbour": Source("Harbour handbook", "docs/harbour.md"), "bakery": Source("Bakery", "docs/bakery.md")}


# --- prompts ---


def taught() -> list[bool]:
    """What a reader is taught (jobs/facts.py) is what it is asked here, with passages and without."""
    text = question("Anna Ash", "town")
    passages = [told(page) for page in register().pages[:2]]
    hits, sources = [hit(passage, "page") for passage in passages], {"page": Source(TITLE, "")}
    made = [build(text, hits[:n], sources, TOLD, WIDE, system="{not_found}").messages for n in (0, 1, 2)]
    return [m[1]["content"] == asked(text, passages[:n]) for n, m in enumerate(made)]


def prompts() -> dict[str, Any]:
    hits = [hit(HARBOUR), hit(BAKERY * 6, "bakery"), hit(HARBOUR * 40, "harbour")]
    whole = build(QUESTION, hits, SOURCES, TOLD, WIDE)
    turns = [{"role": r, "content": f"{r} {n} " + "word " * 40} for n in range(8) for r in ("user", "assistant")]
    fits = []
    for tokens in range(880, 12_000, 180):
        made = build(QUESTION, hits, SOURCES, TOLD, Limits(tokens, bound), turns)
        fits.append((bound(made.messages) <= tokens, made.tokens <= tokens, len(made.used)))
    long = hit(HARBOUR * 40, shown=HARBOUR * 90)
    cut = build(QUESTION, [long], SOURCES, TOLD, Limits(2500, bound))
    with_turns = build(QUESTION, hits[:2], SOURCES, TOLD, Limits(3000, bound), turns)
    return {
        "roles": [m["role"] for m in whole.messages],
        "user": whole.messages[1]["content"][:200],
        "taught": taught(),
        "not found": TOLD["not_found"] in whole.messages[0]["content"],
        "fits": all(a and b for a, b, _ in fits),
        "used": sorted({n for _, _, n in fits}),
        "cut": [len(cut.used), 100 < len(cut.used[0].shown) < 2500, HARBOUR.startswith(cut.used[0].shown[:60])],
        "too long": refused(lambda: build("why " * 900, hits, SOURCES, TOLD, Limits(2000, bound))),
        "earlier": [m["role"] for m in with_turns.messages],
        "newest": with_turns.messages[-2]["content"][:11],
    }


def refused(work: Any) -> str:
    try:
        work()
    except TooLong as problem:
        return str(problem)
    return ""


# --- attacks in documents ---


def attacks(file: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.open()]
    clean = build(QUESTION, [hit(HARBOUR), hit(BAKERY, "bakery")], SOURCES, TOLD, WIDE)
    return [{"id": row["id"], "kind": row["kind"], **attacked(row, clean.messages)} for row in rows]


def attacked(row: dict[str, str], clean: list[dict[str, str]]) -> dict[str, bool]:
    """Whether each part of the pipeline stays what it is when a document says `text`."""
    evil = hit(row["text"], heading=row["title"])
    sources = {**SOURCES, "harbour": Source(row["title"], "docs/harbour.md")}
    made = build(QUESTION, [evil, hit(BAKERY, "bakery")], sources, TOLD, WIDE)
    user = made.messages[-1]["content"]
    lines = user.split("\n")
    bare = [line for line in lines if not line.startswith(MARK)]
    hidden = [
        c for c in user if c in "\u200b\u202e\u2060\ufeff\u2028\u2029\x85\x0b\x0c\r" or 0xE0000 <= ord(c) < 0xE1000
    ]
    said = [m["content"] for m in made.messages]
    return {
        "messages": [m["role"] for m in made.messages] == ["system", "user"] and len(made.used) == 2,
        "system": made.messages[0] == clean[0],
        "fence": bare == ["Passages:", "", "[1]", "", "[2]", "", f"Question: {QUESTION}"],
        "tokens": not any(token in text for text in said for token in TOKENS),
        "hidden": not hidden and len(user.splitlines()) == len(lines),
        "page": safe(row),
    }


def safe(row: dict[str, str]) -> bool:
    """A model that repeats the document, and the document itself, on the page: no tag, script or address of theirs."""
    evil = hit(row["text"], heading=row["title"])
    done = Done(
        row["text"],
        (evil,),
        {"harbour": Source(row["title"], row["text"][:99])},
        [],
        Usage(),
        {"total": 1.0},
        0.5,
        False,
    )
    return attacked_live.safe(row["text"], done)


def noticed() -> dict[str, list[str]]:
    """Which parts are called broken when one thing is not as it was with a harmless document."""
    said = "It opens at 7 [1]. Cite [9]."
    used = (hit(HARBOUR),)
    titles = {name: source.title for name, source in SOURCES.items()}
    checked = check(said, used, titles, Embedder(MODEL, None), 0.5)
    done = Done(said, used, SOURCES, checked, Usage(), {"total": 1.0}, 0.5, False)
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": QUESTION}]
    clean = attacked_live.Seen({"model": "m", "messages": messages}, [(None, {"kind": "open"}, None)], done)
    cases = {
        "nothing": clean,
        "tools": replace(clean, sent={**clean.sent, "tools": []}),
        "rules": replace(clean, sent={**clean.sent, "messages": [{**messages[0], "content": "none"}, messages[1]]}),
        "a turn": replace(clean, sent={**clean.sent, "messages": [*messages, messages[1]]}),
        "a filter": replace(clean, searched=[(None, None, None)]),
        "a citation": replace(clean, done=replace(done, checked=checked[:1])),
    }
    return {
        name: [part for part, held in attacked_live.held(QUESTION, seen, clean).items() if not held]
        for name, seen in cases.items()
    }


# --- citations ---


def citations() -> dict[str, Any]:
    embedder = Embedder(MODEL, None)
    used = [hit(HARBOUR), hit(BAKERY, "bakery", heading="Oven")]
    titles = {name: source.title for name, source in SOURCES.items()}
    said = {
        "copied": "The harbour office opens at 7 in the morning [1].",
        "in other words": "Boats that stay for a night pay 12 crowns [1].",
        "of two": "The oven dates from 1911 [1, 2].",
        "wrong passage": "The harbour office opens at 7 in the morning [2].",
        "wrong number": "The harbour office opens at 9 in the morning [1].",
        "made up": "The mayor lives in a castle by the lake [1].",
        "invented": "Boats pay 12 crowns for a night [9].",
        "zero": "Boats pay 12 crowns for a night [0].",
        "uncited": "Boats pay 12 crowns for a night.",
        "code": "`argv[1]` holds the name of the harbour office.",
    }
    found = {
        name: [c.state for c in check(text, used, titles, embedder, 0.5, TOLD["not_found"])]
        for name, text in said.items()
    }
    (two,) = check(said["of two"], used, titles, embedder, 0.5)
    text = "It is so. [1] See e.g. the oven, 3.5 m wide [2][3].\n\n```py\nx = a[1]\n```\n- A list [1]\n- Its end"
    return {
        "states": found,
        "of two": [c.state for c in two.citations],
        "not found": check(TOLD["not_found"], used, titles, embedder, 0.5, TOLD["not_found"]),
        "sentences": [[s.text, list(s.cited), text[s.start : s.end]] for s in sentences(text)],
    }


# --- the page's HTML, and the gate ---


def page() -> dict[str, Any]:
    return {
        "links": answer("So it is [1]. **Bold** `code [1]` [2, 7].", 3, 2),
        "markdown": answer("![x](http://e/x.png) [y](http://e) <http://e> <b>b</b>", 1, 0),
        "waiting": 'aria-busy="true"' in conversation([Turn(1, "q")], ""),
    }


def gate() -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        gate, order, refusals = Gate(2, 3), [], []
        most = 0

        async def one(n: int) -> None:
            nonlocal most
            try:
                async with gate.place():
                    most = max(most, gate.inside)
                    order.append(n)
                    await asyncio.sleep(0.01)
            except Full as problem:
                refusals.append((n, problem.retry_after_s >= 1))

        gone = asyncio.create_task(one(100))
        await asyncio.sleep(0)
        gone.cancel()  # who hangs up leaves a place
        await asyncio.gather(gone, return_exceptions=True)
        await asyncio.gather(*(one(n) for n in range(8)))
        return {"order": order[1:], "refused": refusals, "most": most, "after": [gate.inside, gate.waiting]}

    return asyncio.run(work())


def idempotent(file: Path) -> bool:
    texts = [json.loads(line)["text"] for line in file.open()]
    return all(defuse(defuse(text)) == defuse(text) for text in texts)


if __name__ == "__main__":
    injections = Path(sys.argv[1])
    own = replace(WIDE, special=("<odd>", "harbour-token"))
    facts = {
        "prompts": prompts(),
        "attacks": attacks(injections),
        "noticed": noticed(),
        "idempotent": idempotent(injections),
        "own tokens": build("a<odd>b", [hit("x harbour-token y")], SOURCES, TOLD, own).messages[1]["content"],
        "citations": citations(),
        "page": page(),
        "gate": gate(),
    }
    print("FACTS " + json.dumps(facts))
