"""Docstrings -> labelled questions in BEIR's format, by rule: `python -m rag.labelled OUT`.

Each docstring is a document, its dotted name the title. Four rules make questions, and say so in their metadata:

    summary   the first paragraph, without the words of the name; it is taken out of the document, which keeps the rest
    how       the first sentence put as a question in other words (SYNONYMS), again without the words of the name
    error     what a person who met the exception would ask, from the sentence that tells when it is raised
    names     identifiers that hardly any other document has

Words in common are few after the first two, which is where meaning helps; the last is of exact words alone. Documents
with the same text, or in which the same sentence stands, are all right answers. Nothing is drawn: which documents are
asked about goes by a digest of their names, so that the same Python gives the same files.

They are of the standard library (`stdlib`), which the pipeline's defaults were first chosen by, or of other packages
(`packages`), which they were not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .docstrings import Document, documents, packaged
from .types import Problem
from .words import STOPPED, raw_words, stemmer, terms

# whose docstrings questions are made from
SHELVES = ("stdlib", "packages")
# of a question, that say something
LEAST_TELLING = 4
# of a hundred documents that a rule fits, so many are asked about
SHARES = {"summary": 45, "how": 35, "error": 80, "names": 12}
SYNONYMS = {
    "add": "put in", "additional": "extra", "allow": "let", "allows": "lets", "argument": "parameter",
    "arguments": "parameters", "attempt": "try", "before": "ahead of", "begin": "start", "boolean": "truth value",
    "build": "put together", "call": "invoke", "called": "invoked", "change": "modify", "character": "letter",
    "characters": "letters", "check": "find out", "close": "shut", "command": "instruction", "compare": "hold against",
    "compute": "work out", "construct": "build", "contains": "holds", "convert": "turn", "copy": "duplicate",
    "create": "make", "creates": "makes", "current": "present", "delete": "get rid of", "determine": "find out",
    "dictionary": "mapping", "directory": "folder", "display": "show", "element": "entry", "elements": "entries",
    "end": "finish", "error": "failure", "execute": "run", "existing": "present", "expression": "formula",
    "fail": "go wrong", "fetch": "obtain", "find": "look up", "format": "layout", "get": "obtain", "given": "supplied",
    "handle": "deal with", "handler": "callback", "identifier": "name", "insert": "put in", "integer": "whole number",
    "invoke": "call", "item": "entry", "items": "entries", "iterable": "sequence", "iterator": "stream",
    "list": "sequence", "locate": "find", "match": "fit", "message": "text", "modify": "change", "new": "fresh",
    "number": "amount", "obtain": "get", "open": "access", "optional": "not required", "output": "result",
    "parse": "read", "path": "location", "perform": "carry out", "print": "show", "process": "program",
    "provide": "give", "raise": "throw", "raised": "thrown", "raises": "throws", "read": "load", "receive": "take in",
    "remove": "take out", "removes": "takes out", "replace": "swap", "represent": "stand for", "request": "query",
    "require": "need", "result": "outcome", "retrieve": "get", "return": "give back", "returned": "given back",
    "returns": "gives back", "run": "execute", "search": "look", "send": "transmit", "sequence": "series",
    "set": "assign", "specified": "named", "start": "begin", "stop": "halt", "store": "keep", "string": "text",
    "strings": "texts", "test": "check", "tuple": "pair of values", "update": "refresh", "use": "employ",
    "used": "employed", "value": "content", "wait": "pause", "whether": "if", "write": "save",
}  # fmt: skip
_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``|`([^`]*)`")
_SENTENCE = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)[.!?](?=\s|$)")
_RAISED = re.compile(
    r"\b(?:[Rr]aises?\s+(?:an?\s+)?(\w+(?:Error|Exception|Warning))|(?:[Aa]n?\s+)?(\w+(?:Error|Exception|Warning))\s+"
    r"(?:is|will be)\s+raised)\s+((?:if|when|unless)\b[^.]{15,200})\."
)


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    text: str
    rule: str
    answers: tuple[str, ...]


def make(found: list[Document]) -> tuple[list[Document], list[Question]]:
    """The documents as they are to be indexed, and questions about them, each document asked about by one rule."""
    same: dict[str, list[str]] = defaultdict(list)  # what tells the same -> the documents in which it stands
    for each in found:
        same[_told(each.text)].append(each.id)
        for sentence in {_told(s) for s in [_paragraphs(each.text)[0], *_sentences(each.text)]} - {_told(each.text)}:
            same[sentence].append(each.id)
    seldom = _seldom(found)
    kept, questions, cut = [], [], set()
    for each in found:
        for rule, make_one in (("names", _names), ("error", _error), ("summary", _summary), ("how", _how)):
            if chance(rule, each.id) >= SHARES[rule]:
                continue
            made = make_one(each, seldom)
            if made is None:
                continue
            text, told, rest = made
            answers = same[told] if told else [each.id]
            questions.append(
                Question(f"{rule}-{len(questions)}", text, rule, tuple(dict.fromkeys([each.id, *answers])))
            )
            if rest is not None:
                cut.add(each.id)
                each = replace(each, text=rest)
            break
        kept.append(each)
    return kept, _asked_once(questions)


def _asked_once(questions: list[Question]) -> list[Question]:
    """The same words may come of several documents: they are one question, with the answers of all."""
    merged: dict[str, Question] = {}
    for each in questions:
        first = merged.get(_told(each.text))
        answers = each.answers if first is None else tuple(dict.fromkeys([*first.answers, *each.answers]))
        merged[_told(each.text)] = replace(first or each, answers=answers)
    return list(merged.values())


Made = tuple[str, str | None, str | None] | None  # the question, what tells the answer, what is left of the document


def _summary(document: Document, seldom: dict[str, set[str]]) -> Made:
    first, *rest = _paragraphs(document.text)
    left = "\n\n".join(rest)
    if not 6 <= len(first.split()) <= 40 or len(left.split()) < 20 or ">>>" in first:
        return None
    asked = _unnamed(_plain(first), document.title)
    return (asked.rstrip(" ."), _told(first), left) if _tells(asked) else None


def _how(document: Document, seldom: dict[str, set[str]]) -> Made:
    first = next(iter(_sentences(document.text)), "")
    if not 5 <= len(first.split()) <= 30 or len(document.text.split()) < 15 or ">>>" in first:
        return None
    verb, _, rest = _plain(first).partition(" ")
    verb = verb.casefold() if verb.casefold() in SYNONYMS else verb.casefold().removesuffix("s")
    rest = _unnamed(rest, document.title)
    if verb not in SYNONYMS or not _tells(rest):
        return None
    return f"how do I {SYNONYMS[verb]} {_otherwise(rest).rstrip(' .')}?", _told(first), None


def _error(document: Document, seldom: dict[str, set[str]]) -> Made:
    found = _RAISED.search(document.text)
    if found is None:
        return None
    name, condition = found[1] or found[2], " ".join(found[3].split())
    asked = _otherwise(_unnamed(_plain(condition), document.title))
    told = next((_told(s) for s in _sentences(document.text) if found[3].split()[-1] in s and name in s), None)
    return (f"why do I get {name} {asked}?", told, None) if _tells(asked) else None


def _names(document: Document, seldom: dict[str, set[str]]) -> Made:
    own = {word.casefold() for word in raw_words(document.title)} | set(document.title.casefold().split("."))
    found = [word for word in dict.fromkeys(raw_words(document.text)) if document.id in seldom.get(word, ())]
    found = [word for word in found if word.casefold() not in own][:2]
    if len(found) < 2:
        return None
    return f"what do {found[0]} and {found[1]} mean together?", None, None


def _seldom(found: list[Document]) -> dict[str, set[str]]:
    """Identifiers -> the documents that have them, where those are one or two."""
    holders: dict[str, set[str]] = defaultdict(set)
    for each in found:
        for word in set(raw_words(each.text)):
            if ("_" in word.strip("_") or re.search(r"[a-z][A-Z]", word)) and len(word) <= 30:
                holders[word].add(each.id)
    return {word: ids for word, ids in holders.items() if len(ids) == 1}


def _tells(words: str) -> bool:
    return len({word.casefold() for word in raw_words(words)} - STOPPED) >= LEAST_TELLING


def _otherwise(words: str) -> str:
    return re.sub(r"[A-Za-z]+", lambda found: SYNONYMS.get(found[0], found[0]), words)


def _unnamed(words: str, title: str) -> str:
    """Without words that share a stem with a part of the name."""
    stem = stemmer("english")
    named = {term for part in raw_words(title) for term in terms(part, stem)}
    kept = [word for word in words.split() if not named & {t for raw in raw_words(word) for t in terms(raw, stem)}]
    return " ".join(kept)


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub(lambda found: found[1] or found[2] or found[3] or "", text).split())


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()] or [""]


def _sentences(text: str) -> list[str]:
    return [" ".join(s.split()) for part in _paragraphs(text) for s in _SENTENCE.split(part) if s.strip()]


def _told(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .")


def chance(rule: str, name: str) -> int:
    """0 to 99, the same each time."""
    return int.from_bytes(hashlib.sha256(f"{rule}/{name}".encode()).digest()[:4], "big") % 100


def part(found: list[Document], passages: int | None) -> list[Document]:
    """Whole modules, by a digest of their names, until there are as many documents."""
    if passages is None or passages >= len(found):
        return found
    modules: dict[str, list[Document]] = defaultdict(list)
    for each in found:
        modules[each.module.partition(".")[0]].append(each)
    taken: list[Document] = []
    for name in sorted(modules, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(taken) + len(modules[name]) <= passages:
            taken.extend(modules[name])
    return taken


def write(
    folder: Path,
    passages: int | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    of: str = "stdlib",
) -> tuple[int, Counter[str]]:
    """corpus.jsonl, queries.jsonl and qrels/test.tsv; how many documents, and how many questions of each rule.

    `include` and `exclude` are globs of modules, as in a source `stdlib: true`. Raises Problem.
    """
    found = packaged(passages) if of == "packages" else part(documents(include, exclude), passages)
    kept, questions = make(found)
    if not questions:
        raise Problem(f"no questions can be made from {len(kept)} docstrings; name more modules")
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    _lines(folder / "corpus.jsonl", [_row(d) for d in kept])
    _lines(folder / "queries.jsonl", [{"_id": q.id, "text": q.text, "metadata": {"rule": q.rule}} for q in questions])
    rows = [f"{q.id}\t{answer}\t1\n" for q in questions for answer in q.answers]
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return len(kept), Counter(q.rule for q in questions)


def _row(document: Document) -> dict[str, object]:
    return {
        "_id": document.id, "title": document.title, "text": document.text, "metadata": {"kind": document.kind},
    }  # fmt: skip


def _lines(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rag.labelled", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--passages", type=int, help="about so many documents, of whole modules; all when left out")
    parser.add_argument("--include", nargs="+", metavar="GLOB", help="modules by name; all when left out")
    parser.add_argument("--of", choices=SHELVES, default="stdlib", help="whose docstrings")
    given = parser.parse_args()
    count, rules = write(given.out, given.passages, given.include, of=given.of)
    told = ", ".join(f"{count} {rule}" for rule, count in sorted(rules.items()))
    print(f"{count} documents, {sum(rules.values())} questions: {told}")


if __name__ == "__main__":
    main()
