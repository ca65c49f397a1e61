"""How far runs are apart by chance alone: repeats of one run, and the same with another seed.

A difference between two runs means something when it is larger than what two runs that differ in nothing show. From n
alike runs with standard deviation s, the difference of two single runs lies within t(0.975, n - k) * s * sqrt(2) of
nothing in 95 of 100 cases, k groups being pooled (Student 1908; Welch's pooling for equal variances).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.comparison.runs import Compared, figures, read_compared
from runner.record import read_run

CONFIDENCE = 0.95
# of a run's values, what makes chance different and the run no other
SEEDS = ("seed", "data_seed")


@dataclass(frozen=True, slots=True)
class Noise:
    """`spread`: figure -> what a difference of two single runs stays within, of figures that vary. `groups`: how many
    alike runs stand behind it, by label; `seeds`, whether they have other seeds than one another."""

    spread: dict[str, float]
    groups: dict[str, int]
    seeds: bool

    def told(self) -> str:
        """One sentence for who reads the table."""
        counted = ", ".join(f"{count} alike `{label}`" for label, count in self.groups.items() if count > 1)
        if not counted:
            return (
                "no two runs here are alike, so what chance does is not known; "
                "`runner run RECIPE --force`, or with `--set seed=43`, gives one more"
            )
        kind = "with other seeds" if self.seeds else "of the same seed"
        return f"chance: {counted}, {kind}; a difference of two runs stays within it in 95 of 100 cases"


def noise(runs: Sequence[Compared]) -> Noise:
    """From the runs that lie beside each: of the same recipe, or a sweep's other children."""
    groups = {each.label: alike(each) for each in runs}
    spread: dict[str, float] = {}
    tables = [[figures(other) for other in group] for group in groups.values() if len(group) > 1]
    for name in dict.fromkeys(name for table in tables for row in table for name in row):
        values = [[float(row[name]) for row in table if name in row] for table in tables]
        found = band([group for group in values if len(group) > 1])
        if found:
            spread[name] = found
    seeds = any(len({_seed(other) for other in group}) > 1 for group in groups.values())
    return Noise(spread, {label: len(group) for label, group in groups.items()}, seeds)


def band(groups: Sequence[Sequence[float]]) -> float:
    """What a difference of two single runs stays within; 0 where nothing varies, or nothing is known."""
    from scipy.stats import t  # half a second to import

    free = sum(len(group) - 1 for group in groups)
    if free < 1:
        return 0.0
    squares = sum(sum((v - sum(group) / len(group)) ** 2 for v in group) for group in groups)
    return float(t.ppf(0.5 + CONFIDENCE / 2, free)) * math.sqrt(squares / free) * math.sqrt(2)


def alike(each: Compared) -> list[Compared]:
    """Finished runs that differ from this one in nothing but a seed, this one among them where it finished."""
    wanted = _essence(each.record)
    return [
        read_compared(path.name, path)
        for path in _beside(each.run.path)
        if (run := read_run(path)) is not None and run.status == "finished" and _essence(run.record) == wanted
    ]


def _beside(run: Path) -> Iterator[Path]:
    """Runs of the same recipe and profile; of a sweep's child those of its other children, which lie in folders of
    their own below the sweep's."""
    profile = run.parent
    yield from _folders(profile)
    sweep = profile.parent.parent
    children = next((each for each in _folders(sweep / profile.name) if (each / "points.json").is_file()), None)
    if children is not None:
        for other in _folders(sweep):
            if other != profile.parent and other.name != profile.name:
                yield from _folders(other / profile.name)


def _folders(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.is_symlink()) if place.is_dir() else []


def _essence(record: Mapping[str, Any]) -> dict[str, Any]:
    values = record.get("values")
    kept = {k: v for k, v in values.items() if k not in SEEDS} if isinstance(values, dict) else {}
    ups = record.get("upstream")
    versions = (record.get("engine") or {}).get("environment")
    return {"values": kept, "kind": record.get("kind"), "box": record.get("box"), "engine": versions, "upstream": ups}


def _seed(each: Compared) -> Any:
    return tuple(each.part("values").get(key) for key in SEEDS)
