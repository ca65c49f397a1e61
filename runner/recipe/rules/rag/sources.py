"""Rules about what is indexed, and about the questions that it is measured by."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from runner.diagnostics import Diagnostic
from runner.project import shipped
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

# all questions that are made from docstrings, or those of so many documents
MADE = re.compile(r"(stdlib|packages)(:[1-9]\d*)?")
REGISTER = "register"
BEIR = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
_BEIR = "https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset"


def place(facts: Facts, text: str) -> Path | None:
    """A path as a recipe writes it; None of what another recipe leaves."""
    if "${needs." in text or "\x00" in text:
        return None
    root = facts.root or Path.cwd()
    return root / text.replace("${project}", str(root)).replace("${data}", str(shipped("data")))


def there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path's own raises on odd names


@rule(
    "R970",
    "documents that are not there",
    source="https://docs.llamaindex.ai/en/stable/module_guides/loading/simpledirectoryreader/",
)
def missing(facts: Facts) -> Iterator[Diagnostic]:
    """Each source is a file or folder that exists, or the standard library's docstrings. A path is relative to the
    project. An index over nothing would be built without complaint, and every answer would be that it is not there.
    """
    for at, node in facts.all("sources.*"):
        named, stdlib = node.child("path"), facts.get(f"{at}.stdlib") is True
        if named is None or named.value is None:
            if not stdlib:
                yield facts.report("R970", at, "a source without documents", help="add `path:`, or `stdlib: true`")
        elif stdlib:
            yield facts.report(
                "R970", f"{at}.stdlib", "a source is a path or the standard library", help="make them two sources"
            )
        elif (path := place(facts, str(named.value))) is not None and not there(path):
            yield facts.report(
                "R970",
                f"{at}.path",
                f"no such file or folder: `{printable(str(named.value), 80)}`",
                note="a path is relative to the project, or absolute",
                help="name what holds the documents",
            )


@rule("R984", "questions that measure nothing", source=_BEIR)
def questions(facts: Facts) -> Iterator[Diagnostic]:
    """Labelled questions are a folder in BEIR's format, with the corpus, the queries and which passages answer them,
    each file packed by gzip or not; or `packages`, which are made from docstrings of the environment's packages; or
    `stdlib`, made from those of the standard library, which need these among the sources; or `register`, about people
    who don't exist. Where the documents that are labelled are in no source, no way to retrieve can find them. Variants
    are rows of one table, so their names differ.
    """
    given = facts.get("evaluation.questions")
    if isinstance(given, str) and MADE.fullmatch(given):
        needs = given.startswith("stdlib") and "sources" not in facts.refused
        if needs and not any(facts.get(f"{at}.stdlib") is True for at, _ in facts.all("sources.*")):
            yield facts.report(
                "R984",
                "evaluation.questions",
                "the questions are about the standard library, which is not among the sources",
                help="add `- stdlib: true` to `sources`, or name the folder of other questions",
            )
    elif isinstance(given, str) and given != REGISTER and (folder := place(facts, given)) is not None:
        lacks = [name for name in BEIR if not (there(folder / name) or there(folder / f"{name}.gz"))]
        if lacks:
            yield facts.report(
                "R984",
                "evaluation.questions",
                f"`{printable(given, 80)}` lacks {', '.join(f'`{name}`' for name in lacks)}",
                note="labelled questions are in BEIR's format: " + ", ".join(BEIR),
                help="name a folder that holds them, or `stdlib` or `packages`",
            )
    names = Counter(str(node.value) for _, node in facts.all("evaluation.variants.*.name"))
    for at, node in facts.all("evaluation.variants.*.name"):
        if names[str(node.value)] > 1:
            names[str(node.value)] = 0
            yield facts.report(
                "R984",
                at,
                f"two variants are called `{printable(str(node.value))}`",
                help="give each a name of its own",
            )
