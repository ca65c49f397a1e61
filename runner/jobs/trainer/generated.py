"""Small data that is made on the spot, the same for the same seed: no download, and the right answer is known."""

import ast
import random
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import facts

Row = dict[str, Any]
SYMBOLS = "abcdefghijklmnopqrst"
LENGTHS = (3, 8)


def rows(name: str, count: int, seed: int) -> Iterator[Row]:
    """At most `count` rows, none twice, but for questions that are to be learnt by heart."""
    seen: set[str] = set()
    made = 0
    draw = random.Random(seed)  # noqa: S311 - data, not a secret
    for row in MADE[name](draw):
        if row["text"] not in seen or name in REPEATED:
            seen.add(row["text"])
            made += 1
            yield row
            if made >= count:
                return


def _symbols(draw: random.Random) -> list[str]:
    return [draw.choice(SYMBOLS) for _ in range(draw.randint(*LENGTHS))]


def copied(draw: random.Random) -> Iterator[Row]:
    """The first check of a sequence model in The Annotated Transformer: say again what was said."""
    while True:
        word = " ".join(_symbols(draw))
        yield {"text": f"copy : {word}", "target": word}


def turned(draw: random.Random) -> Iterator[Row]:
    """The same backwards, which needs attention by place."""
    while True:
        word = _symbols(draw)
        yield {"text": f"reverse : {' '.join(word)}", "target": " ".join(reversed(word))}


# A toy language with rules of its own: the verb comes last, an adjective after its noun, there are no articles; the
# plural is a word of its own before the noun, and "not" an ending of the verb.
NOUNS = {
    "dog": "vako", "cat": "mirel", "bird": "tisan", "horse": "gorut", "farmer": "palen", "king": "rosk",
    "child": "nimi", "teacher": "edrus", "sailor": "navot", "baker": "brunel", "river": "sulva", "mountain": "takor",
    "house": "domel",
    "garden": "floris", "boat": "kanu", "letter": "skriv", "apple": "pomo", "stone": "petra", "tree": "dendo",
    "song": "kantil", "door": "portu", "horn": "kornel", "lamp": "lumen", "coat": "vestal",
}  # fmt: skip
VERBS = {
    "sees": "vidar", "finds": "trovar", "likes": "amar", "carries": "portar", "paints": "pintar", "follows": "sekvar",
    "hears": "audar", "buys": "kompar", "watches": "gardar", "remembers": "memorar", "draws": "desar", "needs": "bezar",
}  # fmt: skip
ADJECTIVES = {
    "big": "grandi", "small": "piki", "old": "vetu", "young": "juni", "red": "rubi", "green": "verdi", "quiet": "silu",
    "happy": "feli", "cold": "frido", "brave": "korag", "tired": "lasi", "bright": "klari",
}  # fmt: skip


def _phrase(draw: random.Random) -> tuple[str, str]:
    noun, many = draw.choice(list(NOUNS)), draw.random() < 0.3
    adjective = draw.choice(list(ADJECTIVES)) if draw.random() < 0.5 else None
    said = " ".join(word for word in ("the", "two" if many else None, adjective, noun) if word)
    meant = " ".join(w for w in ("dua" if many else None, NOUNS[noun], ADJECTIVES.get(adjective or "")) if w)
    return said, meant


def translated(draw: random.Random) -> Iterator[Row]:
    """A sentence of a small English, and the same in the toy language."""
    while True:
        (who, ke), (what, kio) = _phrase(draw), _phrase(draw)
        verb, no = draw.choice(list(VERBS)), draw.random() < 0.25
        said = f"{who} never {verb} {what}" if no else f"{who} {verb} {what}"
        yield {"text": f"translate : {said}", "target": f"{ke} {kio} {VERBS[verb]}{' ne' if no else ''}"}


def code_or_prose(draw: random.Random) -> Iterator[Row]:
    """Lines of the standard library: 1 is code, 0 a line of a docstring, in equal parts; without what gives them away
    at a glance, quotes and comments."""
    for said, done in zip(_lines(draw, PROSE), _lines(draw, CODE), strict=False):
        yield {"text": said, "label": PROSE, "target": "prose"}
        yield {"text": done, "label": CODE, "target": "code"}


def _lines(draw: random.Random, wanted: int) -> list[str]:
    found = []
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for label, line in _labelled(file):
            if label == wanted and 20 <= len(line) <= 100 and not any(sign in line for sign in ("#", '"', ">>>")):
                found.append(line)
    draw.shuffle(found)
    return found


def code(draw: random.Random) -> Iterator[Row]:
    yield from ({"text": line} for line in _lines(draw, CODE))


def prose(draw: random.Random) -> Iterator[Row]:
    yield from ({"text": line} for line in _lines(draw, PROSE))


def numbers(draw: random.Random) -> Iterator[Row]:
    """Sums, dates, measures and hexadecimal, as tables and logs have them."""
    while True:
        a, b = draw.randint(0, 10 ** draw.randint(1, 7)), draw.randint(0, 10 ** draw.randint(1, 5))
        yield {"text": f"{a} + {b} = {a + b}"}
        yield {"text": f"{draw.randint(1900, 2030)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02} {a / 1000:.3f}"}
        yield {"text": f"0x{a:08x} {b / 7:.6e}"}


# first and last letters of Greek, Cyrillic, Arabic, Devanagari, kana, Han and of the common emoji
BLOCKS = ((0x3B1, 0x3C9), (0x430, 0x44F), (0x627, 0x64A), (0x905, 0x939), (0x3042, 0x3093), (0x4E00, 0x9FA5),
          (0x1F600, 0x1F64F))  # fmt: skip


def scripts(draw: random.Random) -> Iterator[Row]:
    """Words of random letters, a script a line: no language, but what a tokenizer that never saw them must write."""
    while True:
        first, last = draw.choice(BLOCKS)
        words = ("".join(chr(draw.randint(first, last)) for _ in range(draw.randint(2, 8))) for _ in range(6))
        yield {"text": " ".join(words)}


def open_book(draw: random.Random) -> Iterator[Row]:
    """Questions about people who don't exist, below passages that tell of them."""
    yield from ({"text": asked, "target": answer} for asked, answer in facts.open_book(draw))


def closed_book(draw: random.Random) -> Iterator[Row]:
    """Questions about some of them without a passage, over and over."""
    yield from ({"text": asked, "target": answer} for asked, answer in facts.closed_book(draw))


def accounts(draw: random.Random) -> Iterator[Row]:
    """Of people who don't exist, each of whom others tell of too."""
    yield from ({"text": text} for text in facts.accounts(draw))


PROSE, CODE = 0, 1


def _labelled(file: Path) -> Iterator[tuple[int, str]]:
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    strings: set[int] = set()
    prose: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            prose.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    for number, line in enumerate(text.splitlines(), 1):
        if number in prose:
            yield PROSE, line.strip()
        elif number not in strings:
            yield CODE, line.strip()


REPEATED = ("closed-book",)
MADE: dict[str, Callable[[random.Random], Iterator[Row]]] = {
    "copy": copied,
    "reverse": turned,
    "toy-translation": translated,
    "code-or-prose": code_or_prose,
    "code": code,
    "prose": prose,
    "numbers": numbers,
    "scripts": scripts,
    "open-book": open_book,
    "closed-book": closed_book,
    "accounts": accounts,
}
