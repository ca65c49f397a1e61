"""Lock files of engine environments: exact pins, and a few facts that the builder reads from comments."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==(\S+)(?:\s+#\s*only:\s*(cpu|cuda))?\s*")
_FACT = re.compile(r"#\s*runner:\s*(\w+)\s+(.*\S)\s*")
# what changes the content of an environment; the others only describe it
_SHAPING = ("tools", "first", "env")
_BESIDE_CPU = ("stands_for", "without_ops")


def normal(name: str) -> str:
    """A distribution's name as the packaging standards compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Pin:
    """`only` is the build of torch that it is for, or empty."""

    name: str
    version: str
    only: str = ""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Lock:
    """Pins by normalised name; facts by word, as lists of words."""

    pins: dict[str, Pin]
    facts: dict[str, list[str]]

    def fact(self, word: str) -> list[str]:
        return self.facts.get(word, [])

    def chosen(self, word: str) -> list[Pin]:
        """The pins that a fact names. Raises KeyError where the lock does not pin one of them."""
        return [self.pins[normal(name)] for name in self.fact(word)]

    def wanted(self, build: str) -> list[Pin]:
        """Every pin for a `cpu` or a `cuda` build of torch."""
        return [p for p in self.pins.values() if p.only in ("", build)]

    def size_gb(self, build: str) -> float:
        """What the environment takes on disk, about, in GB; 0 where the lock does not say."""
        words = self.fact("size_gb")
        return float(dict(zip(words[::2], words[1::2], strict=True)).get(build, 0))

    @property
    def seconds(self) -> float:
        return float((self.fact("seconds") or ["0"])[0])

    def digest(self) -> str:
        """Of what shapes the environment: a reworded comment must not cost anyone a rebuild."""
        lines = [f"{p} {p.only}" for p in self.pins.values()]
        lines += [f"{word} {' '.join(self.fact(word))}" for word in _SHAPING]
        lines += [f"{word} {' '.join(self.fact(word))}" for word in _BESIDE_CPU if self.fact(word)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def parse(text: str) -> Lock:
    """Raises ValueError for a line that is neither an exact pin nor a comment."""
    pins: dict[str, Pin] = {}
    facts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if fact := _FACT.fullmatch(line):
            facts[fact[1]] = fact[2].split()
        elif line.strip() and not line.startswith("#"):
            pin = _PIN.fullmatch(line)
            if pin is None:
                raise ValueError(line)
            pins[normal(pin[1])] = Pin(pin[1], pin[2], pin[3] or "")
    return Lock(pins, facts)


@cache
def read(file: Path) -> Lock:
    return parse(file.read_text(encoding="utf-8"))


def locked_engines() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.txt"))
