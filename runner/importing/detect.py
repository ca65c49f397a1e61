"""Keys -> the tool they belong to, and the translation by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

from runner.diagnostics import Diagnostic, Span
from runner.importing import axolotl, llama_factory, trl
from runner.importing.types import Imported, Source
from runner.importing.yaml11 import mended
from runner.recipe.load import Refused, parse

# what people call a tool -> its module
TOOLS: dict[str, ModuleType] = {m.NAME: m for m in (axolotl, llama_factory, trl)}


def translate(source: Source, root: Path, tool: str | None = None) -> Imported:
    """By `tool`, or by the one whose keys most of these are. Raises Refused (R810, R815)."""
    module = TOOLS[tool or _told_by_keys(source)]
    if module is not axolotl:  # which mends its own, by the types of its keys
        text, meant = mended(source.text, {})
        doc = parse(text, str(source.file), "imported")
        source = replace(source, text=text, doc=doc, rows=(*source.rows, *meant))
    found: Imported = module.translate(source, root)
    return found


def _told_by_keys(source: Source) -> str:
    keys = set(source.doc.keys)
    known = {name: len(keys & module.known()) for name, module in TOOLS.items()}
    best = max(known, key=lambda name: known[name])
    if known[best] < 2 or known[best] * 2 < len(keys):
        raise Refused(
            Diagnostic(
                "R810",
                "this is no config of a tool that is known here",
                Span(str(source.file)),
                notes=tuple(f"{count} of {len(keys)} keys are {name}'s" for name, count in known.items()),
                help="say which with `--from` if it is one",
            )
        )
    return best
