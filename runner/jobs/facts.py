"""A register of people who don't exist, questions about them, and prompts in which the answers stand or don't.

Nobody can know these facts but by reading them, here or while training: what a model says without a passage is what it
has learnt by heart, and guessing is right in one of twelve cases. Used by jobs/rag for its questions and by
jobs/trainer for what a small reader is taught.

    seen     people whose facts stand in the training questions too: a model may know them by heart
    new      people who are in the register alone
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache


def _words(text: str) -> list[str]:
    return text.split()


FIRST = _words(
    "Anna Bruno Clara David Emma Felix Greta Henry Irene Jonas Karin Louis Maria Nora Oscar Paula Quentin Rosa Simon "
    "Tessa Ulrich Vera Walter Frank Yves Helen Albert Bella Conrad Dora"
)
LAST = _words(
    "Ash Bell Cook Dale Elm Field Grant Hill Iron Jones King Lake Marsh North Oak Park Price Reed Stone Thorn Under "
    "Vale Wood Xavier York Turner Bridge Cliff Dunn East"
)
VALUES = {
    "town": _words("Oslo Bern Rome Cairo Lima Paris Delhi Kyoto Perth Dublin Lagos Turin"),
    "trade": _words("baking mining fishing sewing welding painting hunting teaching printing farming weaving sailing"),
    "colour": _words("red blue green yellow black white brown purple orange grey pink silver"),
    "animal": _words("horse owl cat dog fox bear swan goat whale crow frog wolf"),
}
SEEN, NEW = 40, 160
PAGE = 4  # people on one
TITLE = "Register"
# passages of a question to learn from; a share of them in any order, the others with the right one first, as a search
# has it most often
SHOWN = (1, 1, 1, 2)
SHUFFLED = 0.3


@dataclass(frozen=True, slots=True)
class Person:
    """`facts` in the order in which the register tells them."""

    name: str
    facts: dict[str, str]

    @property
    def sentences(self) -> list[str]:
        return [f"Here is {self.name}.", *(f"Their {what} is {value}." for what, value in self.facts.items())]


@dataclass(frozen=True, slots=True)
class Register:
    """`pages` have the people of both groups, mixed; `others` are names that no page has."""

    seen: list[Person]
    new: list[Person]
    pages: list[list[Person]]
    others: list[str]


@cache
def register() -> Register:
    draw = random.Random(0)  # noqa: S311 - data, not a secret
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    draw.shuffle(names)
    people = [person(name, draw) for name in names[: SEEN + NEW]]
    mixed = draw.sample(people, len(people))
    pages = [mixed[at : at + PAGE] for at in range(0, len(mixed), PAGE)]
    return Register(people[:SEEN], people[SEEN:], pages, names[SEEN + NEW :])


def person(name: str, draw: random.Random) -> Person:
    return Person(name, {what: draw.choice(VALUES[what]) for what in draw.sample(list(VALUES), len(VALUES))})


def told(people: Sequence[Person]) -> str:
    return " ".join(sentence for each in people for sentence in each.sentences)


def question(name: str, what: str) -> str:
    return f"Name {name}'s {what}"


def asked(question: str, passages: Sequence[str]) -> str:
    """As rag/prompt.py puts a question below the passages that were found for it."""
    shown = "\n\n".join(f"[{n}]\n| {TITLE}\n| {text}" for n, text in enumerate(passages, 1))
    return f"Passages:\n\n{shown}\n\nQuestion: {question}" if shown else f"Question: {question}"


def closed_book(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Questions about those who are seen, without a passage, and the answers; each comes again and again."""
    people = register().seen
    while True:
        who, what = draw.choice(people), draw.choice(list(VALUES))
        yield asked(question(who.name, what), []), who.facts[what]


def open_book(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Questions below passages, one of which has the answer: about names that the register has not, and who are someone
    else each time, so that nothing but reading helps."""
    names = register().others
    while True:
        people = [person(name, draw) for name in draw.sample(names, draw.choice(SHOWN))]
        who, what = people[0], draw.choice(list(VALUES))
        if draw.random() < SHUFFLED:
            draw.shuffle(people)
        yield asked(question(who.name, what), [told([each]) for each in people]), who.facts[what]


def accounts(draw: random.Random) -> Iterator[str]:
    """Of one person each, drawn from all names, with facts that stay and are told in another order each time."""
    fixed = random.Random(1)  # noqa: S311
    people = [person(f"{first} {last}", fixed) for first in FIRST for last in LAST]
    while True:
        who = draw.choice(people)
        yield told([Person(who.name, dict(draw.sample(list(who.facts.items()), len(VALUES))))])
