"""datatrove: reads, filters, deduplicates and tokenizes a corpus in steps, each of which goes on where it stopped."""

from __future__ import annotations

import re
from typing import Any

from runner.engines import Step, jobs_dir
from runner.recipe.kinds import SUPERVISED, kind_schema
from runner.recipe.resolve import Recipe

ENVIRONMENT = "datatrove"
STDLIB = "stdlib"
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"]
# the fewest entries of a byte-level BPE besides its special tokens
BYTES = 256


def jobs(recipe: Recipe) -> tuple[str, ...]:
    return tuple(sorted(f"prepare/{file.name}" for file in (jobs_dir() / "prepare").glob("*.py")))


def steps(recipe: Recipe) -> tuple[Step, ...]:
    values = recipe.values
    found = [Step("read", _read(values))]
    if values.get("exact_dedup"):
        found.append(Step("exact_dedup", "remove equal documents"))
    if values.get("minhash_dedup"):
        found.append(Step("minhash_dedup", "remove nearly equal documents"))
    if values.get("decontaminate"):
        found.append(Step("decontaminate", "remove documents that share words with evaluation sets"))
    named = values.get("tokenizer")
    found.append(Step("tokenizer", f"take {named}" if named else f"train a BPE of {values.get('vocab_size'):,} tokens"))
    found.append(Step("tokenize", "documents to tokens, by split"))
    found.append(Step("finish", "compare the counts, hash the shards, write the manifest"))
    return tuple(found)


def _read(values: dict[str, Any]) -> str:
    return str(values["source"]) + (", filtered" if any(values.get(key) for key in FILTERS) else "")


FILTERS = (
    "min_doc_chars",
    "max_doc_chars",
    "languages",
    "gopher_repetition",
    "gopher_quality",
    "c4_quality",
    "fineweb_quality",
)


def source_kind(recipe: Recipe) -> str:
    """`stdlib`, `files` or `hub`: a local path was made absolute when the recipe was resolved."""
    source = str(recipe.values["source"])
    if str(recipe.doc.keys["source"].value) == STDLIB:
        return STDLIB  # whatever folder may have this name
    return "files" if source.startswith("/") else "hub"


def workers(recipe: Recipe) -> int:
    given = recipe.values.get("workers")
    return int(given) if given else max(1, recipe.box.cores)


def config(recipe: Recipe) -> dict[str, Any]:
    """Every key with its value or default: jobs/prepare has none of its own."""
    header = ("recipe", "kind", "title", "week", "needs", "box", "extends", "profiles", "allow", *SUPERVISED)
    keys = {k: s.get("default") for k, s in kind_schema(recipe.kind)["properties"].items() if k not in header}
    found = {**keys, **recipe.values}
    kind = source_kind(recipe)
    split = found["split"] or ("train" if kind == "hub" else None)
    count = workers(recipe)
    return {
        **found,
        "source": STDLIB if kind == STDLIB else found["source"],
        "source_kind": kind,
        "split": split,
        "decontaminate": found["decontaminate"] or [],
        "special_tokens": found["special_tokens"] or SPECIAL_TOKENS,
        "workers": count,
        "tasks": found["tasks"] or 2 * count,
        "steps": [step.name for step in steps(recipe)],
    }


def context(recipe: Recipe) -> dict[str, Any]:
    return {"config": config(recipe), "cpu": recipe.box.gpus == 0, "online": recipe.profile != "smoke"}


_SAID = re.compile(r"error: (?P<what>.+)")
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception)(?::.*)?")


def failure(log: str) -> str | None:
    """What jobs/prepare said in its one line; else the last Python exception."""
    found = None
    for line in log.splitlines():
        if said := _SAID.fullmatch(line):
            found = said["what"]
        elif _ERROR.fullmatch(line.strip()):
            found = line.strip()
    return found
