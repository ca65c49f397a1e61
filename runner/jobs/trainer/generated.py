"""Small data that is made on the spot, the same for the same seed: no download, and the right answer is known."""

import ast
import random
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SYMBOLS = "abcdefghijklmnopqrst"
LENGTHS = (3, 10)


def rows(name: str, count: int, seed: int) -> Iterator[Row]:
    """At most `count` rows, none twice."""
    seen: set[str] = set()
    draw = random.Random(seed)  # noqa: S311 - data, not a secret
    for row in MADE[name](draw):
        if row["text"] not in seen:
            seen.add(row["text"])
            yield row
            if len(seen) >= count:
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


# A toy language with rules of its own: the verb comes last, an adjective after its noun, there are no articles, the
# plural is a word of its own before the noun, and "not" an ending of the verb.
NOUNS = {
    "dog": "vako", "cat": "mirel", "bird": "tisan", "horse": "gorut", "farmer": "palen", "king": "rosk", "child": "nimi",
    "teacher": "edrus", "sailor": "navot", "baker": "brunel", "river": "sulva", "mountain": "takor", "house": "domel",
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
    found: dict[int, list[str]] = {0: [], 1: []}
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for label, line in _labelled(file):
            if 20 <= len(line) <= 100 and "#" not in line and '"' not in line and ">>>" not in line:
                found[label].append(line)
    for lines in found.values():
        draw.shuffle(lines)
    for prose, code in zip(found[0], found[1], strict=False):
        yield {"text": prose, "label": 0, "target": "prose"}
        yield {"text": code, "label": 1, "target": "code"}


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
            yield 0, line.strip()
        elif number not in strings:
            yield 1, line.strip()


MADE: dict[str, Callable[[random.Random], Iterator[Row]]] = {
    "copy": copied,
    "reverse": turned,
    "toy-translation": translated,
    "code-or-prose": code_or_prose,
}
