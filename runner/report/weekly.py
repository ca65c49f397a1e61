"""A week's runs -> its log in Markdown, with room for what only the person can write."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from runner.curriculum import Week
from runner.launch.measured import SHOWN, number
from runner.launch.outcome import headline
from runner.project import Project
from runner.record import LOG, Run, read_run
from runner.report.calendar import Span
from runner.report.ink import duration, money
from runner.report.spent import price_usd_per_hour, spent_usd, total_usd

_RUN = re.compile(r"(\d{8})-\d{6}(-\d+)?")
# what a person asks of a week; the answers are theirs alone
QUESTIONS = (
    ("What I learned", "One sentence for each paper, and one for each run."),
    ("What surprised me", "Where prediction and measurement, or paper and run, disagree: why?"),
    ("What I would do differently", ""),
    ("Open questions, and the next week", ""),
)


@dataclass(frozen=True, slots=True)
class WeekLog:
    """`figures` are paths relative to the log; `missing` are the week's recipes that have not finished in full."""

    week: Week
    span: Span
    runs: Sequence[Run]
    figures: Sequence[str]
    missing: Sequence[str]


def runs_between(project: Project, span: Span) -> list[Run]:
    """All that began in these days, of any recipe and profile, oldest first; trials, and what runs hold, left out."""
    found = []
    # named by the day they were made, of UTC; a day on both sides is enough for any zone
    days = f"{span.first - timedelta(days=1):%Y%m%d}", f"{span.end + timedelta(days=1):%Y%m%d}"
    folders = (path for path in _run_folders(project.artifacts) if days[0] <= path.name[:8] <= days[1])
    for path in sorted(folders, key=lambda path: path.name):
        run = read_run(path)
        began = _moment(run.record.get("started")) if run is not None else None
        if run is not None and began is not None and span.covers(began):
            found.append(run)
    return found


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders named as runs are, below this one and not inside each other."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        if _RUN.fullmatch(entry.name):
            yield Path(entry.path)
        else:
            yield from _run_folders(Path(entry.path))


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def generated(log: WeekLog) -> str:
    """What `runner log` knows by itself."""
    parts = [
        _heading(log),
        _ran(log.runs),
        _compared(log.runs),
        "\n\n".join(f"![{Path(each).stem}]({each})" for each in log.figures),
        _failed(log.runs),
        _money(log.runs),
        _missing(log.missing),
    ]
    return "\n\n".join(part for part in parts if part)


def _heading(log: WeekLog) -> str:
    read = [f"- [{paper.title}]({paper.link}) ({paper.authors}, {paper.year})" for paper in log.week.papers]
    return "\n".join(
        [
            f"# Week {log.week.number}: {log.week.goal}",
            "",
            f"{log.span.first} to {log.span.last}. Phase {log.week.phase.number}, {log.week.phase.title}.",
            *(["", "To read:", "", *read] if read else []),
        ]
    )


def _ran(runs: Sequence[Run]) -> str:
    if not runs:
        return "## What ran\n\nNothing ran in these days."
    lines = ["## What ran", "", "| began (UTC) | recipe | profile | box | came to | time | result |", _rule(7)]
    for run in runs:
        r = run.record
        began, hours = str(r.get("started", ""))[:16].replace("T", " "), float(r.get("seconds") or 0) / 3600
        metrics = r.get("metrics") or {}
        result = headline(metrics) if metrics else ""
        lines.append(_row(began, r.get("recipe"), r.get("profile"), r.get("box"), run.status, duration(hours), result))
    return "\n".join(lines)


def _compared(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        said, found = run.record.get("predicted") or {}, run.record.get("measured") or {}
        for name, (word, unit) in SHOWN.items():
            if _is_number(said.get(name)) and _is_number(found.get(name)):
                off = f"{found[name] / said[name] - 1:+.0%}" if said[name] else ""
                figures = number(said[name]), number(found[name])
                rows.append(_row(run.record["recipe"], run.record["profile"], f"{word} {unit}".rstrip(), *figures, off))
    if not rows:
        return ""
    head = "| recipe | profile | what | predicted | measured | measured is |"
    return "\n".join(["## Predicted against measured", "", head, _rule(6), *rows])


def _failed(runs: Sequence[Run]) -> str:
    lines = []
    for run in runs:
        if run.status not in ("failed", "interrupted", "died"):
            continue
        said = str(run.record.get("error") or "ended from outside, before it was done")
        where = f"artifacts/{run.record.get('recipe')}/{run.record.get('profile')}/{run.id}/{LOG}"
        lines.append(f"- `{run.record.get('recipe')}` ({run.record.get('profile')}), {run.status}: {_cell(said)}")
        lines.append(f"  Log: `{where}`")
    return "\n".join(["## What failed, and why", "", *lines]) if lines else ""


def _money(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    hours = sum(float(run.record.get("seconds") or 0) for run in runs) / 3600
    paid = [run for run in runs if price_usd_per_hour(str(run.record.get("box", "")))]
    told = f"{len(runs)} runs took {duration(hours)}. "
    if not paid:
        return f"## Money\n\n{told}None ran on a box with a price."
    lost = sum(spent_usd(run) for run in paid if run.status in ("failed", "interrupted", "died"))
    wasted = f", of which {money(lost)} on runs that did not finish" if lost else ""
    return f"## Money\n\n{told}{money(total_usd(paid))} at the boxes' hourly prices{wasted}."


def _missing(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    return "\n".join(["## Not yet finished in full", "", *(f"- `{recipe}`" for recipe in missing)])


def notes() -> str:
    """Blanks below the generated part, in a new log."""
    return "\n\n".join(f"## {title}\n\n{hint or '...'}" for title, hint in QUESTIONS)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _row(*cells: Any) -> str:
    return "| " + " | ".join(_cell(str(cell)) for cell in cells) + " |"


def _cell(text: str) -> str:
    """One line, that opens no column and no markup of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
