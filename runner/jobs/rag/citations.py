"""An answer and its passages -> its sentences, each with what it cites and whether the cited passages bear it out.

A citation is borne out where sentence and passage say similar things in the same words, and every number of the
sentence stands in the passage. That finds what was made up and what was put to the wrong passage; it does not find a
`not` that was added or dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from .types import Hit, Vectors, as_searched


class Embedder(Protocol):
    """Vectors of length 1."""

    def passages(self, texts: list[str]) -> Vectors: ...
    def queries(self, texts: list[str]) -> Vectors: ...


SUPPORTED, UNSUPPORTED, INVENTED, UNCITED = "supported", "unsupported", "invented", "uncited"
# not of an index into a list, as in `argv[1]`: code is masked, and outside of it a blank or a word stands before
_MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_END = re.compile(
    r"(?:(?<![.\s][A-Za-z])[.!?]+[\"')\]*_]*(?=\s|$|\[\d)|\n)(?:\s*\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\])*\s*"
)
_ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|cf|vs|etc|Dr|Mr|Ms|Fig|No|pp?)\.$")
_WORD = re.compile(r"[^\W_]+(?:[_'][^\W_]+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# fewer words that carry meaning say nothing that could be checked: `Yes.`
FEWEST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Sentence:
    """Characters of the answer, half open; `text` is without the markers."""

    start: int
    end: int
    text: str
    cited: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """`number` is the passage's, from 1; `similarity` is the cosine of the two, `overlap` the share of the sentence's
    words that the passage has, `support` the mean of both. All 0 for a number that was never given out."""

    number: int
    state: str
    similarity: float = 0.0
    overlap: float = 0.0
    support: float = 0.0


@dataclass(frozen=True, slots=True)
class Checked:
    sentence: Sentence
    state: str
    citations: tuple[Citation, ...]


def sentences(answer: str) -> list[Sentence]:
    """Blocks of code are no sentences."""
    masked = _CODE.sub(lambda m: re.sub(r"[^\n]" if m[0].startswith("```") else r".", "\x00", m[0]), answer)
    found, start = [], 0
    for end in (*_ends(masked), len(answer)):
        if made := _sentence(answer, masked, start, end):
            found.append(made)
        start = end
    return found


def _ends(masked: str) -> list[int]:
    return [m.end() for m in _END.finditer(masked) if not _ABBREVIATED.search(masked, 0, m.start() + 1)]


def _sentence(answer: str, masked: str, start: int, end: int) -> Sentence | None:
    block = masked[start:end]
    markers = list(_MARKER.finditer(block))
    cited = [int(n) for m in markers for n in re.findall(r"\d+", m[1])]
    text, at = "", start
    for m in markers:
        text += answer[at : start + m.start()]
        at = start + m.end()
    text = " ".join((text + answer[at:end]).split())
    if not re.sub(r"[\x00\W_]", "", block) and not cited:
        return None
    length = len(answer[start:end].rstrip())
    return Sentence(start, start + length, re.sub(r"\s+([.,;:!?])", r"\1", text), tuple(dict.fromkeys(cited)))


def check(
    answer: str,
    used: Sequence[Hit],
    titles: Mapping[str, str],
    embedder: Embedder,
    support_at: float,
    not_found: str = "",
) -> list[Checked]:
    """`used` are the passages by their numbers, from 1, `titles` those of their documents. A sentence is as good as the
    best of its citations, and invented where one of them is."""
    found = [s for s in sentences(answer) if s.text != not_found.strip()]
    cited = sorted({n for s in found for n in s.cited if 1 <= n <= len(used)})
    # passages as they were embedded, whose vectors are known already
    texts = [as_searched(titles[p.document], p.heading, p.text) for p in (used[n - 1].passage for n in cited)]
    citing = [s for s in found if s.cited] if cited else []
    of_sentence = dict(zip(citing, embedder.queries([s.text for s in citing]), strict=True))
    of_passage = dict(zip(cited, embedder.passages(texts), strict=True))
    checked = []
    for s in found:
        citations = []
        for n in s.cited:
            if n not in of_passage:
                citations.append(Citation(n, INVENTED))
                continue
            similarity = float(of_sentence[s] @ of_passage[n])
            title = titles[used[n - 1].passage.document]
            citations.append(_judged(n, s.text, used[n - 1], title, similarity, support_at))
        if s.cited or len(words(s.text)) >= FEWEST_WORDS:
            checked.append(Checked(s, _state(citations), tuple(citations)))
    return checked


def _judged(number: int, sentence: str, hit: Hit, title: str, similarity: float, support_at: float) -> Citation:
    shown = as_searched(title, hit.passage.heading, hit.shown or hit.passage.text)
    mine, theirs = words(sentence), words(shown)
    overlap = len(mine & theirs) / len(mine) if mine else 0.0
    support = (similarity + overlap) / 2
    numbers = set(_NUMBER.findall(sentence)) <= set(_NUMBER.findall(shown))
    state = SUPPORTED if support >= support_at and numbers else UNSUPPORTED
    return Citation(number, state, round(similarity, 4), round(overlap, 4), round(support, 4))


def _state(citations: Sequence[Citation]) -> str:
    states = [c.state for c in citations]
    return next((s for s in (INVENTED, SUPPORTED, UNSUPPORTED) if s in states), UNCITED)


def words(text: str) -> set[str]:
    """Stems of the words that carry meaning."""
    plain = [w for w in _WORD.findall(text.lower()) if w not in _stop_words()]
    return set(_stemmer().stemWords(plain))


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS)


@cache
def _stemmer() -> Any:
    from Stemmer import Stemmer

    return Stemmer("english")
