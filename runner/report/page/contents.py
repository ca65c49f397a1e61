"""Project -> Contents: reads every run's summary, and of each recipe's newest run what it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from runner.launch.measured import SHOWN, number
from runner.project import Project
from runner.record import Run, read_metrics, read_run
from runner.report.history import Summary, history, newest
from runner.report.ink import brief_duration, money
from runner.report.page.charts import COMPARED, Point, compared_chart, loss_chart
from runner.report.page.lineage import graphs
from runner.report.page.pieces import piece_of
from runner.report.page.plan import deliverables, levels, phases
from runner.report.page.types import Cell, Contents, Going, Grid, Line, Section
from runner.report.runs_text import ago, compared, cost_usd, result, silent_s

MOST_LINES = 500
# kinds whose runs leave tables and figures: anchor, the menu's word, title, lead, and the kinds
_SHELVES = (
    ("compared", "Comparisons", "Comparisons", "Runs and evaluations side by side, with intervals.", ("compare",)),
    ("scaling", "Scaling", "Scaling and sweeps", "Children of sweeps, and laws fitted to them.", ("sweep",)),
    ("evaluations", "Evaluations", "Evaluations", "What models scored.", ("eval",)),
    ("quantization", "Quantization", "Quantization", "What each scheme keeps, takes and saves.", ("quantize",)),
    ("benchmarks", "Benchmarks", "Serving benchmarks", "Latency and throughput of endpoints.", ("bench",)),
    ("retrieval", "Retrieval", "Retrieval", "What each way to retrieve finds, and how fast.", ("rag",)),
    ("data", "Data", "Data and tokenizers", "What was prepared, and in which tokens.", ("prepare", "tokenizer")),
)


def contents(project: Project) -> Contents:
    """What there is at this moment."""
    now = datetime.now(timezone.utc)
    summaries = history(project)
    chosen = _chosen(summaries)
    records = {s.place: run for s in chosen if (run := read_run(project.artifacts / s.place)) is not None}
    names = [project.recipe_name(file) for file in project.all_recipes()]
    level = levels(project, names)
    needs = {s.recipe: _needs(records[s.place]) for s in chosen if s.place in records}
    # as written before smoke, where a recipe has both
    kinds = {s.recipe: s.kind for s in reversed(chosen)}
    return Contents(
        project=project.root.name,
        made=f"{now:%Y-%m-%d %H:%M} UTC",
        facts=_facts(summaries),
        deliverables=tuple(deliverables(level)),
        phases=tuple(phases(project, level)),
        going=tuple(_going(project, s) for s in summaries if s.status == "running"),
        lines=tuple(_line(project, s, now) for s in summaries[:MOST_LINES]),
        left_out=max(0, len(summaries) - MOST_LINES),
        sections=tuple(_sections(project, chosen, records)),
        lineage=tuple(graphs(needs, kinds, dict(level))),
    )


def _needs(run: Run) -> list[str]:
    ups = run.record.get("upstream")
    listed = ups if isinstance(ups, list) else []
    return list(dict.fromkeys(str(u["recipe"]) for u in listed if isinstance(u, dict) and u.get("recipe")))


def _chosen(summaries: Sequence[Summary]) -> list[Summary]:
    """Of each recipe its newest finished run as written, else that of smoke; by name. A sweep's children are in its
    table."""
    found = newest(list(summaries))
    sweeps = {s.recipe for s in found.values() if s.kind == "sweep"}
    kept: dict[str, Summary] = {}
    for (recipe, profile), each in found.items():
        if recipe.rpartition("/")[0] not in sweeps and (recipe not in kept or profile == "full"):
            kept[recipe] = each
    return [kept[name] for name in sorted(kept)]


def _facts(summaries: Sequence[Summary]) -> tuple[tuple[str, str], ...]:
    ended = Counter(s.status for s in summaries)
    hours = sum(s.seconds for s in summaries) / 3600
    usd = sum(cost for s in summaries if (cost := cost_usd(s)) is not None)
    found = [
        ("runs", f"{len(summaries):,}"),
        ("finished", f"{ended['finished']:,}"),
        ("failed", f"{ended['failed']:,}"),
    ]
    return (*found, ("time", brief_duration(hours)), *((("cost", money(usd)),) if usd else ()))


def _line(project: Project, s: Summary, now: datetime) -> Line:
    cost = cost_usd(s)
    worst = max((abs(ratio - 1) for ratio in s.ratios.values()), default=-1.0)
    took = brief_duration(s.seconds / 3600) if s.seconds else "-"
    return Line(
        recipe=s.recipe, profile=s.profile, run=s.run, status=s.status, started=s.started, when=ago(s.started, now),
        hours=s.seconds / 3600, took=took, usd=cost, cost="-" if cost is None else money(cost),
        compared=compared(s) or "-", worst=worst, result=result(project, s),
    )  # fmt: skip


def _going(project: Project, s: Summary) -> Going:
    rows, _ = read_metrics(project.artifacts / s.place)
    last = {key: value for row in rows for key, value in row.items()}
    step, of, loss = (last.get(key) for key in ("step", "max_steps", "loss"))
    words = [f"started {ago(s.started, datetime.now(timezone.utc))}"]
    share = None
    if isinstance(step, (int, float)) and isinstance(of, (int, float)) and of:
        share = min(1.0, step / of)
        words.insert(0, f"step {step:,.0f} of {of:,.0f}")
    if isinstance(loss, (int, float)):
        words.insert(1 if share is not None else 0, f"loss {loss:.3f}")
    quiet = silent_s(project, s)
    if quiet is not None and quiet > 120:
        words.append(f"nothing written for {brief_duration(quiet / 3600)}")
    return Going(s.recipe, s.profile, s.run, ", ".join(words), share)


def _sections(project: Project, chosen: Sequence[Summary], records: dict[str, Run]) -> Iterator[Section]:
    curves = [chart for s in chosen if s.kind != "sweep" and (chart := loss_chart(project, s)) is not None]
    if curves:
        lead = "The newest finished run of each recipe; points are validation."
        yield Section("curves", "Losses", "Loss curves", lead, charts=tuple(curves))
    points = _points(chosen, records)
    chart, rows = compared_chart(points), tuple(_predicted_rows(chosen, records))
    if rows:
        table = Grid(
            "All figures that both have",
            ("recipe", "profile", "figure", "predicted", "measured", "ratio"),
            rows,
            frozenset({3, 4, 5}),
        )
        lead = "On the line the plan was right; the band is a fifth more or less."
        yield Section(
            "predicted",
            "Predictions",
            "Measured against predicted",
            lead,
            charts=(chart,) if chart else (),
            grids=(table,),
        )
    for anchor, word, title, lead, kinds in _SHELVES:
        pieces = [piece for s in chosen if s.kind in kinds and (piece := piece_of(project, s)) is not None]
        if pieces:
            yield Section(anchor, word, title, lead, pieces=tuple(pieces))


def _both(run: Run, name: str) -> tuple[float, float] | None:
    parts = [run.record.get(part) for part in ("predicted", "measured")]
    said, got = (part.get(name) if isinstance(part, dict) else None for part in parts)
    if isinstance(said, (int, float)) and isinstance(got, (int, float)) and said > 0 and got > 0:
        return float(said), float(got)
    return None


def _points(chosen: Sequence[Summary], records: dict[str, Run]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for s in chosen:
        for title, names in COMPARED:
            both = next((b for n in names if s.place in records and (b := _both(records[s.place], n))), None)
            if both is not None:
                found.setdefault(title, []).append((*both, s.profile))
    return found


def _predicted_rows(chosen: Sequence[Summary], records: dict[str, Run]) -> Iterator[tuple[Cell, ...]]:
    for s in chosen:
        for name, (word, unit) in SHOWN.items():
            both = _both(records[s.place], name) if s.place in records else None
            if both is None:
                continue
            said, got = both
            figures = (Cell(number(said), said), Cell(number(got), got), Cell(f"{got / said:.2f}", got / said))
            yield (Cell(s.recipe), Cell(s.profile), Cell(f"{word} ({unit})" if unit else word), *figures)
