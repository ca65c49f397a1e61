"""Rules about what is read: the source, and the evaluation sets that it is cleaned of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from runner.diagnostics import Diagnostic
from runner.project import shipped
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

STDLIB = "stdlib"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DATA = re.compile(r".*\.(jsonl|json|ndjson|parquet|txt|md|text)(\.(gz|zst|xz|bz2))?")
# `datasets` reads the hub's by these
_HUB_KEYS = ("name", "split", "revision", "streaming")


def kind_of(facts: Facts, text: str) -> str:
    """`stdlib`, `files` (there), `missing` (a path, but nothing there), `hub`, or `unknown`; `later` of a need's."""
    if text == STDLIB:
        return STDLIB
    if "${needs." in text:
        return "later"
    root = facts.root or Path.cwd()
    path = root / text.replace("${project}", str(root)).replace("${data}", str(shipped("data")))
    if os.path.exists(path):  # noqa: PTH110 - Path's own raises on odd names
        return "files"
    if text.startswith(("/", ".", "~", "$")) or _DATA.fullmatch(text) or text.count("/") > 1:
        return "missing"
    return "hub" if _HUB.fullmatch(text) else "unknown"


@rule("R601", "a source that is not there", source="https://huggingface.co/docs/datasets/loading")
def unknown_source(facts: Facts) -> Iterator[Diagnostic]:
    """`source` is `stdlib`, a file or folder of this machine (written relative to the project), or a dataset of the hub
    as `owner/name`. A path that leads nowhere would be taken for the name of a dataset that nobody has, and told only
    when the run has begun. The same holds for the evaluation sets of `decontaminate`.
    """
    places = [("source", facts.node("source")), *facts.all("decontaminate.*.path")]
    for at, node in places:
        if node is None or not isinstance(node.value, str):
            continue
        kind, shown = kind_of(facts, node.value), printable(node.value, 80)
        if kind == "missing":
            yield facts.report(
                "R601",
                at,
                f"no such file or folder: `{shown}`",
                note="a path is relative to the project, or absolute",
                help="check the path, or name a dataset of the hub as `owner/name`",
            )
        elif kind == "unknown" or (kind == STDLIB and at != "source"):
            near = at == "source" and nearest_word(node.value, [STDLIB])
            yield facts.report(
                "R601",
                at,
                f"`{shown}` is neither a file nor a dataset of the hub",
                label=f"did you mean `{STDLIB}`?" if near else "",
                note="datasets of the hub are named `owner/name`",
                help=f"set `source: {STDLIB}`" if near else "name a file or folder that is there, or `owner/name`",
            )


@rule("R607", "a key for another kind of source", source="https://huggingface.co/docs/datasets/loading")
def keys_of_another_source(facts: Facts) -> Iterator[Diagnostic]:
    """A configuration, a split and a revision are a dataset's of the hub; files and the standard library have none, and
    all of their rows would be read whatever `split` says. `glob_pattern` chooses among the files of a folder, and
    nothing else.
    """
    source = facts.get("source")
    if not isinstance(source, str):
        return
    kind = kind_of(facts, source)
    wrong = [key for key in _HUB_KEYS if facts.has(key)] if kind in (STDLIB, "files") else []
    if kind in (STDLIB, "hub") and facts.has("glob_pattern"):
        wrong.append("glob_pattern")
    for key in wrong:
        meant = "files of a folder" if key == "glob_pattern" else "a dataset of the hub"
        told = {STDLIB: "is the standard library", "files": "is local", "hub": "is a dataset of the hub"}[kind]
        yield facts.report(
            "R607",
            key,
            f"`{key}` chooses from {meant}, and the source {told}",
            label="nothing reads it",
            help=f"remove `{key}`",
        )


@rule(
    "R609",
    "an evaluation set without its split",
    source="https://huggingface.co/docs/datasets/load_hub#splits",
)
def evaluation_split(facts: Facts) -> Iterator[Diagnostic]:
    """Without `split` all splits of a dataset are loaded as a mapping of them, which has no rows of its own. Which one
    a model will be measured on is for the recipe to say: a corpus cleaned of the training split is cleaned of the
    wrong one.
    """
    for at, node in facts.all("decontaminate.*"):
        path = node.child("path")
        hub = path is not None and isinstance(path.value, str) and kind_of(facts, path.value) == "hub"
        if hub and path is not None and node.child("split") is None:
            yield facts.report(
                "R609",
                f"{at}.path",
                f"the evaluation set `{printable(str(path.value))}` needs a `split`",
                label="which of its splits is measured on?",
                help="add `split: test`, or whichever is measured on",
            )
