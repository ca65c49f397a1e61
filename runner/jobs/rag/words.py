"""Text -> words for BM25: stemmed, accents gone, identifiers whole and in parts; refuses a stemmer it doesn't know."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Protocol

import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS

from .types import Problem

# a word with what joins it into one name (`os.path.join`, `read_csv`, `IL-2`, `it's`), or one sign of a script that
# puts no spaces between words
_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W぀-ヿ㐀-鿿]+(?:[.:\-']+[^\W぀-ヿ㐀-鿿]+)*")
_JOINT = re.compile(r"[.:\-'_]+")
# parts of a name in camel case; shorter ones say nothing (`mRNA`, `BMDCs`)
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_CAMEL_LEAST = 3
_OWNED = re.compile(r"'s$|'")
_SEVERAL = re.compile(r"(?<=[A-Z]{2})s$")  # RNAs, which the stemmer takes for a word without a vowel
# left out of questions alone: in text `not`, `in` and `with` may be what is asked for
STOPPED = frozenset(STOPWORDS_EN_PLUS)


class Stem(Protocol):
    def __call__(self, word: str) -> str: ...


@lru_cache(maxsize=8)
def stemmer(name: str | None) -> Stem:
    """Snowball's of a language, with what it has said kept; of null the word itself. Raises Problem."""
    if name is None:
        return str
    if name not in Stemmer.algorithms():
        raise Problem(f"there is no stemmer {name!r}; there are {', '.join(Stemmer.algorithms())}")
    return lru_cache(maxsize=200_000)(Stemmer.Stemmer(name).stemWord)


def raw_words(text: str) -> list[str]:
    """As they stand in the text, in order; joined names are one."""
    if not text.isascii():
        text = _plain(text)
    return _WORD.findall(text)


def terms(raw: str, stem: Stem) -> tuple[str, ...]:
    """What one raw word is searched by: `read_csv` -> `read_csv`, `read`, `csv`."""
    raw = _SEVERAL.sub("", _OWNED.sub("", raw).strip("_"))
    if raw.isalpha() and (raw.islower() or raw[1:].islower() or raw.isupper()):
        return (stem(raw.casefold()),)
    found = [part for part in _JOINT.split(raw) if part]
    plain = [stem(part.casefold()) for part in found]
    for part in found:
        camel = _CAMEL.findall(part)
        if len(camel) > 1 and all(len(piece) >= _CAMEL_LEAST for piece in camel):
            plain.extend(stem(piece.casefold()) for piece in camel)
    # `low-density` is two words; `read_csv` and `IL-2` are names as well
    if len(found) > 1 and (any(sign in raw for sign in "._:") or any(c.isdigit() for c in raw)):
        plain.append(raw.casefold())
    return tuple(plain)


def asked(question: str, stem: Stem) -> list[str]:
    """The terms of a question; its common words count only where there are no others."""
    raw = raw_words(question)
    telling = [word for word in raw if word.casefold() not in STOPPED]
    return [term for word in telling or raw for term in terms(word, stem)]


def _plain(text: str) -> str:
    """Without accents, ligatures and full-width forms; a typographic apostrophe is one of the keyboard's."""
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
