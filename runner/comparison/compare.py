"""Runs -> what each scored, the paired differences, and the tables that lie beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from runner.comparison.noise import noise
from runner.comparison.results import Results, aligned, common_tasks, read_results, same_prompts
from runner.comparison.runs import (
    Compared,
    environment_table,
    figures,
    figures_table,
    plan_table,
    read_compared,
    settings_table,
)
from runner.comparison.statistics import Array, mean_of_tasks, paired
from runner.comparison.tables import Row, Table, read_table, side_by_side

# the metric that stands for a task where several do; else its first
MAIN = ("acc_norm", "pass@1", "exact_match,flexible-extract", "exact_match", "prompt_level_strict_acc", "acc")
MEAN = "mean of tasks"
PAIRS = (
    "first", "second", "task", "metric", "n", "first_score", "second_score", "difference", "low", "high", "wins",
    "ties", "losses", "p", "test", "clear",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One run: `label` names it in tables; folders are None where it has none of that kind. `run` is the folder of the
    run itself, or of anything it left; `origins` says where its recipe sets each key, where that is known."""

    label: str
    results: Path | None = None
    gate: Path | None = None
    bench: Path | None = None
    run: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    baseline: str | None = None
    tasks: tuple[str, ...] | None = None
    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """`scores` has a row for each run, `pairs` one for each pair, task and metric; `others` are tables by name."""

    scores: Table
    pairs: Table
    others: dict[str, Table] = field(default_factory=dict)
    runs: tuple[Compared, ...] = ()

    def write(self, folder: Path) -> None:
        self.scores.write(folder)
        tables = {"pairs": self.pairs, **self.others}
        for name, table in tables.items():
            if table.rows:
                table.write(folder / name)
        sections = "".join(f"\n## {name}\n\n{t.as_markdown()}" for name, t in tables.items() if t.rows)
        (folder / "table.md").write_text(self.scores.as_markdown() + sections)


def compare(entries: Sequence[Entry], options: Options) -> Comparison:
    """Raises Refused (R471, R950 to R953) where something can't be read, or what was asked differs."""
    runs = [read_results(each.results, each.label) for each in entries if each.results is not None]
    tasks = common_tasks(runs, options.tasks) if runs else []
    others: dict[str, Table] = {}
    single: dict[str, Row] = {each.label: {} for each in entries}
    for name in ("gate", "bench"):
        given = [(each.label, getattr(each, name)) for each in entries if getattr(each, name) is not None]
        if not given:
            continue
        labels = [label for label, _ in given]
        tables = [read_table(folder, label) for label, folder in given]
        if all(len(table.rows) == 1 for table in tables):
            for label, table in zip(labels, tables, strict=True):
                single[label] |= {column: table.rows[0].get(column) for column in table.columns}
        else:
            others[name] = side_by_side(labels, tables)
    compared = tuple(read_compared(each.label, each.run, each.origins) for each in entries if each.run is not None)
    for ran in compared:
        single[ran.label] |= figures(ran)
    others |= run_tables(compared)
    scored = {run.label: _scores(run, tasks) for run in runs}
    rows = [{"run": each.label, **scored.get(each.label, {}), **single[each.label]} for each in entries]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    pairs = [row for one, two in _pairs(runs, options.baseline) for row in _differences(one, two, tasks, options)]
    return Comparison(Table(columns, rows), Table(list(PAIRS), pairs, _notes(runs, tasks, options)), others, compared)


def run_tables(runs: Sequence[Compared]) -> dict[str, Table]:
    """What runs took and came to, what was foreseen of them, and in what they differ; those that say nothing are
    left out when they are written."""
    if not runs:
        return {}
    chance = noise(runs)
    return {
        "figures": replace(figures_table(runs, chance.spread), notes=[chance.told()]),
        "predicted": plan_table(runs),
        "settings": settings_table(runs),
        "environment": environment_table(runs),
    }


def top_level(run: Results, tasks: Sequence[str]) -> dict[str, list[str]]:
    """What a reader means by a task -> the tasks that are asked: outermost groups, and tasks that are in none."""
    groups = {name: [t for t in group["tasks"] if t in tasks] for name, group in run.groups.items()}
    whole = {
        name: listed for name, listed in groups.items() if listed and len(listed) == len(run.groups[name]["tasks"])
    }
    # a group over groups of other things (`openllm`) has no score of its own
    whole = {name: listed for name, listed in whole.items() if run.groups[name]["metrics"]}
    outer = {n: own for n, own in whole.items() if not any(set(own) < set(other) for other in whole.values())}
    inside = {task for listed in outer.values() for task in listed}
    return {**{task: [task] for task in tasks if task not in inside}, **outer}


def main_metric(metrics: Sequence[str]) -> str | None:
    return next((name for name in MAIN if name in metrics), metrics[0] if metrics else None)


def _scores(run: Results, tasks: Sequence[str]) -> Row:
    """`task/metric` -> value, and its standard error after it."""
    found: Row = {}
    for name in top_level(run, tasks):
        metrics = (run.groups.get(name) or run.tasks[name])["metrics"]
        for metric, each in metrics.items():
            found[f"{name} {metric}"] = each["value"]
            found[f"{name} {metric} stderr"] = each["stderr"]
    if judged := run.summary.get("judge"):
        found |= {"judged win rate": judged["win_rate"], "judged low": judged["low"], "judged high": judged["high"]}
    return found


def _pairs(runs: Sequence[Results], baseline: str | None) -> Iterator[tuple[Results, Results]]:
    base = next((run for run in runs if run.label == baseline), None)
    if base is None:
        yield from combinations(runs, 2)
    else:
        yield from ((base, run) for run in runs if run is not base)


def _differences(one: Results, two: Results, tasks: Sequence[str], options: Options) -> Iterator[Row]:
    scores = {task: (one.scores(task), two.scores(task)) for task in tasks}
    gaps: list[Array] = []
    found: list[Row] = []
    for name, members in top_level(one, tasks).items():
        metrics = [m for m in scores[members[0]][0] if all(m in side for t in members for side in scores[t])]
        for metric in metrics:
            sides = [aligned(scores[t][0][metric], scores[t][1][metric]) for t in members]
            first, second = (np.concatenate([side[i] for side in sides]) for i in (0, 1))
            if first.size == 0:
                continue
            found.append(_row(one, two, name, metric, first, second, options))
            if metric == main_metric(metrics):
                gaps.append(second - first)
    yield from found
    if len(gaps) > 1:
        middle, low, high = mean_of_tasks(
            gaps, confidence=options.confidence, resamples=options.resamples, seed=options.seed
        )
        blank: Row = dict.fromkeys(PAIRS)
        named = {"first": one.label, "second": two.label, "task": MEAN, "n": sum(gap.size for gap in gaps)}
        yield {**blank, **named, "difference": middle, "low": low, "high": high, "clear": low > 0 or high < 0}


def _row(one: Results, two: Results, name: str, metric: str, first: Array, second: Array, options: Options) -> Row:
    found = paired(first, second, confidence=options.confidence, resamples=options.resamples, seed=options.seed)
    return {
        "first": one.label,
        "second": two.label,
        "task": name,
        "metric": metric,
        "n": found.n,
        "first_score": found.first,
        "second_score": found.second,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
        "p": found.p,
        "test": found.test,
        # of few documents on which the two differ, the bootstrap's interval alone is too sure of itself
        "clear": (found.low > 0 or found.high < 0) and found.p <= 1 - options.confidence,
    }


def _notes(runs: Sequence[Results], tasks: Sequence[str], options: Options) -> list[str]:
    if len(runs) < 2:
        return []
    notes = [
        f"Differences are second less first on the same documents, with {options.confidence:.0%} intervals by a paired "
        f"bootstrap of {options.resamples:,} samples; wins are documents on which the second is ahead. p is McNemar's "
        "exact test for right and wrong, else the bootstrap's, and not corrected for the number of rows. A "
        "difference is clear where both its interval and its p say so."
    ]
    if other := [task for task in tasks if not same_prompts(runs, task)]:
        shown = ", ".join(other[:5]) + (" and others" if len(other) > 5 else "")
        notes.append(f"The models did not read the very same text in {shown}: their chat templates differ.")
    if any(run.summary.get("limit") for run in runs):
        notes.append("Only some documents of each task were asked (`limit`): scores are no benchmark figures.")
    return notes
