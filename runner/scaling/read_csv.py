"""A table of runs -> Points, with a place for everything that is wrong with it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runner.diagnostics import Diagnostic, Span
from runner.recipe.load import Refused, printable
from runner.recipe.naming import nearest_word
from runner.scaling.points import FLOPS_PER_TOKEN, Points

LARGEST_BYTES = 64 * 2**20
MOST_FAULTS = 20
# our name of a column -> what else it is called in published tables
COLUMNS = {
    "params": ("parameters", "n_params", "num_params", "model_size", "n"),
    "tokens": ("n_tokens", "num_tokens", "training_tokens", "d"),
    "flops": ("flop", "compute", "training_flop", "training_flops", "c"),
    "loss": ("final_loss", "val_loss", "validation_loss", "l"),
    "unique_tokens": ("n_unique_tokens", "unique"),
}
_NEEDED = ("params", "loss")
_EITHER = ("tokens", "flops")


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a cell and where it stands."""

    text: str
    span: Span


def read_csv(file: Path, law: str = "chinchilla") -> Points:
    """Raises Refused: R801 what is no table, R802 a column that is missing, R803 cells that are no positive number."""
    lines = _lines(file)
    header = _header(file, lines)
    index = _columns(file, header, law)
    rows: list[dict[str, float]] = []
    places: list[Span] = []
    faults: list[Diagnostic] = []
    for number, line in lines[1:]:
        row, wrong = _row(_cells(file, number, line, header.delimiter), index, Span(str(file), number, 1))
        faults += wrong
        if len(faults) >= MOST_FAULTS:
            break
        if not wrong:
            rows.append(row)
            places.append(Span(str(file), number, 1))
    if faults:
        raise Refused(*faults[:MOST_FAULTS])
    if not rows:
        raise Refused(Diagnostic("R801", "a table without runs", Span(str(file)), help="add a line for each run"))
    names = ("params", "tokens", "flops", "loss", "unique")
    params, tokens, flops, loss, unique = (np.array([row[name] for row in rows]) for name in names)
    return Points(params, tokens, flops, loss, unique, tuple(places))


def _lines(file: Path) -> list[tuple[int, str]]:
    """Lines with their numbers, without empty ones and comments."""
    span = Span(str(file))
    try:
        data = file.read_bytes() if file.stat().st_size <= LARGEST_BYTES else None
    except OSError as error:
        why = (error.strerror or "it can't be opened").lower()
        raise Refused(Diagnostic("R801", "the table can't be read", span, notes=(why,))) from None
    if data is None:
        raise Refused(Diagnostic("R801", "the table is larger than 64 MiB", span, help="a table has a line per run"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Refused(
            Diagnostic("R801", "the table is not UTF-8 text", span, help="save it as comma-separated values in UTF-8")
        )
    numbered = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1)
    found = [(n, line) for n, line in numbered if line.strip(" \t,;") and not line.lstrip().startswith("#")]
    if not found:
        raise Refused(Diagnostic("R801", "the table is empty", span, help="name columns `params,tokens,loss` first"))
    return found


@dataclass(frozen=True, slots=True)
class Header:
    cells: tuple[Cell, ...]
    delimiter: str


def _header(file: Path, lines: list[tuple[int, str]]) -> Header:
    number, line = lines[0]
    delimiter = max(",\t;", key=line.count)
    return Header(tuple(_cells(file, number, line, delimiter)), delimiter)


def _columns(file: Path, header: Header, law: str) -> dict[str, int]:
    """Our name -> its column. An exact name goes before what it is also called."""
    given = ["_".join(cell.text.lower().replace("-", " ").split()) for cell in header.cells]
    found: dict[str, int] = {}
    for name, others in COLUMNS.items():
        for spelt in (name, *others):
            places = [i for i, text in enumerate(given) if text == spelt]
            if len(places) > 1:
                twice = header.cells[places[1]]
                raise Refused(
                    Diagnostic(
                        "R802", f"the column `{printable(twice.text)}` is there twice", twice.span, help="remove one"
                    )
                )
            if places:
                found[name] = places[0]
                break
    missing = [name for name in _NEEDED if name not in found]
    if not any(name in found for name in _EITHER):
        missing.append("tokens")
    if law == "data-constrained" and "unique_tokens" not in found:
        missing.append("unique_tokens")
    if missing:
        raise Refused(*(_missing(file, header, name, given) for name in missing))
    return found


def _missing(file: Path, header: Header, name: str, given: list[str]) -> Diagnostic:
    first = header.cells[0].span
    width = header.cells[-1].span.column + header.cells[-1].span.width - first.column
    close = nearest_word(name, given)
    what = "neither a column `tokens` nor `flops`" if name == "tokens" else f"no column `{name}`"
    notes = {
        "tokens": ("tokens are FLOPs / (6 x parameters), and the other way round; one of them must be there",),
        "unique_tokens": ("the data-constrained law tells repeated tokens from new ones",),
    }.get(name, ())
    numeric = all(_number(cell.text) is not None for cell in header.cells)
    mend = "the first line must name the columns, as `params,tokens,loss`" if numeric else f"add or rename it: `{name}`"
    label = f"did you mean `{name}` by `{close}`?" if close else ""
    return Diagnostic("R802", what, Span(str(file), first.line, 1, max(1, width)), label=label, notes=notes, help=mend)


def _cells(file: Path, number: int, line: str, delimiter: str) -> Iterator[Cell]:
    try:
        texts = next(csv.reader([line], delimiter=delimiter, strict=False))
    except (csv.Error, StopIteration):
        texts = line.split(delimiter)
    start = 0
    for text in texts:
        shown = text.strip()
        at = line.find(shown, start) if shown else start
        yield Cell(shown, Span(str(file), number, (at if at >= 0 else start) + 1, max(1, len(shown))))
        end = line.find(delimiter, max(at, start) + len(shown))
        start = end + 1 if end >= 0 else len(line)


def _row(cells: Iterator[Cell], index: dict[str, int], line: Span) -> tuple[dict[str, float], list[Diagnostic]]:
    listed = list(cells)
    row: dict[str, float] = {}
    faults: list[Diagnostic] = []
    for name, column in index.items():
        cell = listed[column] if column < len(listed) else Cell("", line)
        both = name in _EITHER and all(other in index for other in _EITHER)
        if not cell.text and (both or name == "unique_tokens"):
            continue  # the other one, or the tokens, stand for it
        value = _number(cell.text)
        if value is None or not math.isfinite(value) or value <= 0:
            faults.append(_fault(cell, name, value))
        else:
            row[name] = value
    if faults:
        return row, faults
    if "tokens" not in row and "flops" not in row:
        return row, [Diagnostic("R803", "a run with neither tokens nor FLOPs", line, help="fill in one of the two")]
    row.setdefault("tokens", row.get("flops", 0.0) / (FLOPS_PER_TOKEN * row["params"]))
    row.setdefault("flops", FLOPS_PER_TOKEN * row["params"] * row["tokens"])
    row["unique"] = row.get("unique_tokens", row["tokens"])
    if any(not 1e-9 < value < 1e60 for value in row.values()):
        return row, [Diagnostic("R803", "sizes that no run has", line, help="correct the line, or take it out")]
    return row, []


def _number(text: str) -> float | None:
    try:
        return float(text.replace("_", "x"))  # Python reads 1_0 as 10; in a table it is a slip
    except ValueError:
        return None


def _fault(cell: Cell, name: str, value: float | None) -> Diagnostic:
    if not cell.text:
        what, mend = f"a run without `{name}`", "fill the cell, or take the line out"
    elif value is None:
        what, mend = f"`{printable(cell.text)}` is not a number", "write it in full or as `1.3e9`, without units"
    elif not math.isfinite(value):
        what, mend = f"`{printable(cell.text)}` is no finite `{name}`", "take out runs that diverged or never ended"
    else:
        what, mend = f"`{name}` must be above zero", "correct the cell, or take the line out"
    return Diagnostic("R803", what, cell.span, help=mend)
