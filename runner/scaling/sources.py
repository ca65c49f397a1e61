"""What `runner fit` is given -> Points: tables, runs of a sweep by the recipe's name, single runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runner.diagnostics import Diagnostic, Span
from runner.project import Project, valid_name
from runner.recipe.load import Refused, printable
from runner.recipe.naming import nearest_word
from runner.record import RECORD, latest, read_run
from runner.scaling.points import FLOPS_PER_TOKEN, Points, joined
from runner.scaling.read_csv import read_csv

TABLE = "runs.csv"  # what a sweep leaves in its output


def read_sources(project: Project, given: Sequence[str], profile: str, law: str = "chinchilla") -> Points:
    """Raises Refused with everything that is wrong with any of them (R800 to R803)."""
    parts: list[Points] = []
    faults: list[Diagnostic] = []
    for text in given:
        try:
            parts.append(_source(project, text, profile, law))
        except Refused as refused:
            faults += refused.diagnostics
    if faults:
        raise Refused(*faults)
    return joined(parts)


def _source(project: Project, text: str, profile: str, law: str) -> Points:
    path = Path(text)
    try:
        is_file, is_dir = path.is_file(), path.is_dir()
    except (OSError, ValueError):
        is_file = is_dir = False
    if is_file:
        return read_csv(path, law)
    if is_dir:
        return _folder(path, law)
    if valid_name(text):
        run = latest(project, text, profile)
        if run is not None:
            return _folder(run, law)
    raise Refused(_unknown(project, text, profile))


def _folder(folder: Path, law: str) -> Points:
    """A sweep's run, or one run with its sizes in its record."""
    for table in (folder / "output" / TABLE, folder / TABLE):
        if table.is_file():
            return read_csv(table, law)
    run = read_run(folder)
    record = run.record if run is not None else {}
    sizes = record.get("scaling")
    if isinstance(sizes, dict):
        return _recorded(folder / RECORD, sizes)
    raise Refused(
        Diagnostic(
            "R800",
            "nothing to fit in this folder",
            Span(str(folder)),
            notes=(f"it has neither `output/{TABLE}`, which a sweep leaves, nor a {RECORD} with `scaling`",),
            help="name a sweep's run, or a table with columns `params,tokens,loss`",
        )
    )


def _recorded(file: Path, sizes: dict[str, Any]) -> Points:
    def number(key: str) -> float | None:
        value = sizes.get(key)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
        return float(value) if good else None  # type: ignore[arg-type]

    params, tokens, flops, loss = (number(key) for key in ("params", "tokens", "flops", "loss"))
    if params is None or loss is None or (tokens is None and flops is None):
        raise Refused(
            Diagnostic(
                "R803",
                "the run's record lacks a positive `params`, `loss`, or one of `tokens` and `flops`",
                Span(str(file)),
                help="fit runs that have finished; this one's sizes are under `scaling`",
            )
        )
    tokens = tokens if tokens is not None else (flops or 0.0) / (FLOPS_PER_TOKEN * params)
    flops = flops if flops is not None else FLOPS_PER_TOKEN * params * tokens
    row = np.array([[params], [tokens], [flops], [loss], [number("unique_tokens") or tokens]])
    return Points(row[0], row[1], row[2], row[3], row[4], (Span(str(file)),))


def _unknown(project: Project, text: str, profile: str) -> Diagnostic:
    known = [project.recipe_name(file) for file in project.all_recipes()]
    if text in known:
        return Diagnostic(
            "R800",
            f"`{text}` has no finished run in profile `{profile}`",
            Span("<command line>"),
            help=f"`make recipe R={text}` runs it"
            + ("" if profile == "smoke" else "; `--profile smoke` fits its smoke"),
        )
    close = nearest_word(text, known)
    return Diagnostic(
        "R800",
        f"no table, run or recipe `{printable(text)}`",
        Span("<command line>"),
        label=f"did you mean `{close}`?" if close else "",
        help="name a CSV file with columns `params,tokens,loss`, the folder of a run, or the recipe of a sweep",
    )
