"""Runs of any kind -> tables that set them side by side: figures, settings, environments, and the plan of each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from runner.comparison.tables import Row, Table
from runner.diagnostics import Diagnostic, Span
from runner.facts.boxes import load_box
from runner.launch.measured import SHOWN
from runner.recipe.load import Refused
from runner.record import Run, read_metrics, read_run

# of a run's final metrics, what is set side by side where a run has it
METRICS = (
    "loss", "eval_loss", "rewards/margins", "reward", "rewards/accuracies", "accuracy", "eval_accuracy", "best_loss",
    "tokens",
)  # fmt: skip
TAIL = "loss, last tenth"
# of the steps, that TAIL is the mean over
_TENTH = 10
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Compared:
    """A run under the name that tables give it. `origins` says where its recipe sets each of its keys, where that is
    known; `losses` are `(step, loss)`, a step that was gone through twice as it was the last time."""

    label: str
    run: Run
    losses: list[tuple[float, float]]
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        return self.run.record

    def part(self, key: str) -> dict[str, Any]:
        """A mapping of the record, empty where there is none."""
        found = self.record.get(key)
        return found if isinstance(found, dict) else {}


def read_compared(label: str, folder: Path, origins: Mapping[str, str] | None = None) -> Compared:
    """`folder` is a run's, or that of something it left. Raises Refused (R471) where no run is."""
    run = run_around(folder)
    if run is None:
        raise Refused(
            Diagnostic(
                "R471",
                f"`{label}` is not a run: there is no record that can be read",
                Span(str(folder)),
                help="name a recipe, or a run's folder: `runner runs` lists them",
            )
        )
    return Compared(label, run, losses(run.path), origins or {})


def run_around(folder: Path) -> Run | None:
    """The run whose folder this is, or that left it; None where there is none."""
    place = folder.resolve()
    return next((found for at in (place, *place.parents[:3]) if (found := read_run(at)) is not None), None)


def losses(run: Path) -> list[tuple[float, float]]:
    rows, _ = read_metrics(run)
    by_step = {float(row["step"]): row["loss"] for row in rows if "step" in row and "loss" in row}
    return sorted((s, float(v)) for s, v in by_step.items() if isinstance(v, (int, float)) and math.isfinite(v))


def tail_loss(points: Sequence[tuple[float, float]]) -> float | None:
    """The mean over the last tenth of the reports: one step's loss is its batch's as much as the model's."""
    return fmean(v for _, v in points[-max(1, len(points) // _TENTH) :]) if points else None


def figures(each: Compared) -> Row:
    """What it came to, what it took and what that cost; of a run without a figure, none."""
    metrics, measured, seconds = each.part("metrics"), each.part("measured"), each.record.get("seconds")
    found: Row = {name: _number(metrics.get(name)) for name in METRICS}
    found[TAIL] = tail_loss(each.losses)
    found |= {_titled(name): _number(measured.get(name)) for name in SHOWN}
    if isinstance(seconds, (int, float)):
        hourly = _price(str(each.record.get("box", "")))
        found |= {"hours in all": seconds / 3600, "cost (USD)": seconds / 3600 * hourly if hourly else None}
    return {name: value for name, value in found.items() if value is not None}


def _titled(name: str) -> str:
    word, unit = SHOWN[name]
    return f"{word} ({unit})" if unit else word


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _price(box: str) -> float:
    try:
        return load_box(box).price_usd_per_hour
    except KeyError:
        return 0.0


def figures_table(runs: Sequence[Compared], spread: Mapping[str, float] | None = None) -> Table:
    """A row for each figure: its value in each run, and how far the others are from the first, in all and by ratio.

    `spread` is what runs that differ in nothing but chance are apart, by figure (comparison/noise.py): with it a
    difference is told to be within that, or beyond.
    """
    of = {each.label: figures(each) for each in runs}
    names = dict.fromkeys(name for label in of for name in of[label])
    first, *others = runs
    columns = ["figure", *of]
    for each in others:
        columns += [f"{each.label} - {first.label}", f"{each.label} / {first.label}"]
    rows: list[Row] = []
    for name in sorted(names, key=_order):
        row: Row = {"figure": name, **{label: found.get(name) for label, found in of.items()}}
        base = of[first.label].get(name)
        for each in others:
            value = of[each.label].get(name)
            if base is None or value is None:
                continue
            row[f"{each.label} - {first.label}"] = value - base
            row[f"{each.label} / {first.label}"] = value / base if base else None
        if spread and name in spread:
            gaps = [
                abs(row[f"{each.label} - {first.label}"]) for each in others if f"{each.label} - {first.label}" in row
            ]
            row["chance"] = spread[name]
            row["beyond chance"] = bool(gaps) and max(gaps) > spread[name]
        rows.append(row)
    return Table([*columns, *(("chance", "beyond chance") if spread else ())], rows)


def _order(name: str) -> int:
    """As a run leads to them; a set of names has no order of its own that is the same twice."""
    known = ("loss", TAIL, *METRICS[1:], *map(_titled, SHOWN), "hours in all", "cost (USD)")
    return known.index(name)


def plan_table(runs: Sequence[Compared]) -> Table:
    """What was predicted of each run and what was measured, and the one over the other, where both are known."""
    columns = ["figure"]
    for each in runs:
        columns += [f"{each.label} predicted", f"{each.label} measured", f"{each.label} ratio"]
    rows = []
    for name in SHOWN:
        row: Row = {"figure": _titled(name)}
        for each in runs:
            said, got = _number(each.part("predicted").get(name)), _number(each.part("measured").get(name))
            if said is not None and got is not None:
                row |= {f"{each.label} predicted": said, f"{each.label} measured": got}
                row[f"{each.label} ratio"] = got / said if said else None
        if len(row) > 1:
            rows.append(row)
    return Table(columns, rows)


def settings_table(runs: Sequence[Compared]) -> Table:
    """Keys whose values are not the same in all, each with where it was set."""
    header = [
        {"box": e.record.get("box"), "kind": e.record.get("kind"), "profile": e.record.get("profile")} for e in runs
    ]
    flat = [_placed(e, dict(flattened({**head, **e.part("values")}))) for head, e in zip(header, runs, strict=True)]
    return _differing(runs, flat, "key", lambda each, key: each.origins.get(key.split(".")[0].split("[")[0], ""))


def _placed(each: Compared, values: Mapping[str, Any]) -> dict[str, Any]:
    """Paths from their project on: where a clone lies makes no difference, and leaves no room for what does."""
    project = f"{each.part('places').get('project', '')}/"
    return {
        key: value.removeprefix(project) if isinstance(value, str) and len(project) > 1 else value
        for key, value in values.items()
    }


def environment_table(runs: Sequence[Compared]) -> Table:
    """Versions and machines that are not the same in all."""
    flat = [
        {
            "runner": e.record.get("runner"),
            "environment": e.part("engine").get("environment"),
            **{f"machine {k}": v for k, v in e.part("machine").items()},
            **(e.part("engine").get("versions") or {}),
        }
        for e in runs
    ]
    return _differing(runs, flat, "what", lambda each, key: "")


def _differing(
    runs: Sequence[Compared], flat: Sequence[Mapping[str, Any]], head: str, origin: Callable[[Compared, str], str]
) -> Table:
    rows: list[Row] = []
    placed = False
    for key in dict.fromkeys(key for values in flat for key in values):
        texts = [_told(values[key]) if key in values else _NOTHING for values in flat]
        if len(set(texts)) == 1:
            continue
        row: Row = {head: key, **{each.label: text for each, text in zip(runs, texts, strict=True)}}
        for each, text in zip(runs, texts, strict=True):
            if text != _NOTHING and (where := origin(each, key)):
                row[f"{each.label} set at"] = where
                placed = True
        rows.append(row)
    places = [f"{each.label} set at" for each in runs] if placed else []
    return Table([head, *(each.label for each in runs), *places], rows)


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths to what is no mapping; a list of plain values is one, `datasets[0].path` is in one of mappings."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from flattened(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for i, below in enumerate(value):
            yield from flattened(below, f"{path}[{i}]")
    else:
        yield path, value


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"
