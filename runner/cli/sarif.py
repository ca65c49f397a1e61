"""Diagnostics -> SARIF 2.1.0, which code scanning, editors and review tools read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner import __version__
from runner.diagnostics import Diagnostic, shown_path, without_secrets
from runner.explained import source_of, titles

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_sarif(diagnostics: Iterable[Diagnostic]) -> str:
    """One run of the tool `runner`, with a rule for each code that was met."""
    found = [without_secrets(d) for d in diagnostics]
    codes = sorted({d.code for d in found})
    driver = {"name": "runner", "version": __version__, "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(d, codes.index(d.code)) for d in found],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _rule(code: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": code, "shortDescription": {"text": titles().get(code, code)}}
    source = source_of(code)
    return {**rule, "helpUri": source} if source else rule


def _result(d: Diagnostic, index: int) -> dict[str, Any]:
    words = [d.message, d.label, *d.notes, f"help: {d.help}" if d.help else ""]
    result: dict[str, Any] = {
        "ruleId": d.code,
        "ruleIndex": index,
        "level": d.severity,
        "message": {"text": "\n".join(word for word in words if word)},
    }
    return {**result, "locations": [_location(d)]} if d.span.is_file else result


def _location(d: Diagnostic) -> dict[str, Any]:
    file = shown_path(d.span.file)
    place: dict[str, Any] = {"artifactLocation": {"uri": Path(file).as_uri() if file.startswith("/") else quote(file)}}
    if d.span.line:
        start = max(1, d.span.column)
        place["region"] = {"startLine": d.span.line, "startColumn": start, "endColumn": start + max(1, d.span.width)}
    return {"physicalLocation": place}
