"""Outcomes -> results/summary.json, table.md and samples.jsonl, and a row of metrics.jsonl; the format is in FORMAT.

summary.json: `format`, `questions` (folder, n, documents, groups), `index`, `k`, `headline`, `price_per_hour`,
`variants`, `judge`, `attacks` (`id`, `kind`, `held` by part, `repeated`). A variant: `name`, `retrieval` (what
differs), `metrics` (metric -> mean), `groups` (kind of question -> the headline's metric), `difference` (from the first
variant, in the headline's metric: mean, 95% interval, wins and losses), `latency_ms` (stage -> p50, p95, p99),
`cost_per_thousand` (questions one after the other; null without a price).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..config import Config
from . import reading
from .beir import Questions
from .measure import mean, paired, percentiles

if TYPE_CHECKING:
    from .compare import Outcome

FORMAT = 1
RESULTS = "results"
STAGES = ("rewrite", "embed", "lexical", "dense", "fuse", "fetch", "rerank", "total")


def write(
    config: Config,
    asked: Questions,
    outcomes: Sequence[Outcome],
    about: dict[str, Any],
    answers: Sequence[dict[str, Any]] = (),
    read: Sequence[dict[str, Any]] = (),
    attacks: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    summary = {**summarise(config, asked, outcomes, about), "answers": answered(config, answers)}
    summary["attacks"] = [{key: row[key] for key in ("id", "kind", "held", "repeated")} for row in attacks]
    folder = config.folder / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    if read:
        summary["reading"] = list(read)
        reading.write_csv(folder / "table.csv", read)
    with (folder / "samples.jsonl").open("w") as samples:
        for question, text in asked.texts.items():
            row = {
                "question": question,
                "text": text,
                "relevant": asked.relevant[question],
                "found": {o.variant.name: o.ranked[question][: max(summary["k"])] for o in outcomes},
            }
            samples.write(json.dumps(row, ensure_ascii=False) + "\n")
    publish(config, summary)
    return summary


def publish(config: Config, summary: dict[str, Any]) -> None:
    """By the evaluation, and once more when its answers are judged."""
    folder = config.folder / RESULTS
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    (folder / "table.md").write_text(table(summary))
    told = {f"score/{v['name']}/{m}": value for v in summary["variants"] for m, value in v["metrics"].items()}
    if judged := summary["judge"]:
        told |= {f"score/judge/{name}": judged[name] for name in ("faithfulness", "relevance")}
    told |= reading.figures(summary.get("reading") or ())
    with (config.folder / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"time": time.time(), **told, "headline": headline(summary)}) + "\n")
    print(table(summary), flush=True)
    print(headline(summary), flush=True)


def summarise(config: Config, asked: Questions, outcomes: Sequence[Outcome], about: dict[str, Any]) -> dict[str, Any]:
    cuts = sorted({int(name.partition("@")[2]) for name in outcomes[0].scores})
    main = f"ndcg@{10 if 10 in cuts else cuts[-1]}"
    price = config.evaluation.get("price_per_hour")
    groups = sorted(set(asked.groups.values()))
    told = []
    for outcome in outcomes:
        values = outcome.scores[main]
        of_group = {g: mean({q: values[q] for q in values if asked.groups.get(q) == g}) for g in groups}
        seconds = sum(outcome.times["total"]) / len(outcome.times["total"]) / 1000
        told.append(
            {
                "name": outcome.variant.name,
                "retrieval": outcome.variant.overrides,
                "metrics": {name: round(mean(found), 5) for name, found in outcome.scores.items()},
                "groups": {name: round(value, 5) for name, value in of_group.items()},
                "difference": None if outcome is outcomes[0] else paired(outcomes[0].scores[main], values, config.seed),
                "latency_ms": {s: percentiles(outcome.times[s]) for s in STAGES if s in outcome.times},
                "cost_per_thousand": None if price is None else round(seconds / 3600 * price * 1000, 6),
            }
        )
    return {
        "format": FORMAT,
        "questions": {
            "folder": asked.folder.name,
            "n": len(asked.texts),
            "documents": asked.documents,
            "groups": {g: list(asked.groups.values()).count(g) for g in groups},
        },
        "index": about,
        "k": cuts,
        "headline": main,
        "price_per_hour": price,
        "variants": told,
        "judge": None,
    }


def answered(config: Config, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Of the language model's answers: their times, one question after another, and what a thousand cost; beside them
    those of the generation alone, through the framework that the recipe names."""
    if not rows:
        return None
    asked = [row["timings_ms"] for row in rows if not row["abstained"]]
    through = [row["through"]["timings_ms"] for row in rows if "through" in row]
    price = config.evaluation.get("price_per_hour")
    seconds = sum(row["timings_ms"]["total"] for row in rows) / len(rows) / 1000
    return {
        "n": len(rows),
        "abstained": sum(row["abstained"] for row in rows),
        "latency_ms": _times(asked),
        "framework": config.framework,
        "through_ms": _times(through),
        "cost_per_thousand": None if price is None else round(seconds / 3600 * price * 1000, 6),
    }


def _times(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    stages = dict.fromkeys(name for row in rows for name in row)
    return {name: percentiles([row[name] for row in rows if name in row]) for name in stages}


def headline(summary: dict[str, Any]) -> str:
    first, metric = summary["variants"][0], summary["headline"]
    best = max(summary["variants"], key=lambda v: v["metrics"][metric])
    words = [f"{metric} {first['metrics'][metric]:.3f} over {summary['questions']['n']} questions"]
    words.append(f"p95 {first['latency_ms']['total']['p95']:.1f} ms")
    if best is not first:
        words.append(f"best {best['name']} {best['metrics'][metric]:.3f}")
    if summary["judge"] and summary["judge"]["faithfulness"] is not None:
        words.append(f"faithful {summary['judge']['faithfulness']:.2f}")
    return ", ".join(words)


def table(summary: dict[str, Any]) -> str:
    """Of all variants: metrics, the difference from the first, and times."""
    metric, cuts = summary["headline"], summary["k"]
    shown = [metric, f"mrr@{cuts[-1]}", *(f"recall@{cut}" for cut in cuts), *(f"hit@{cut}" for cut in cuts)]
    groups = list(summary["questions"]["groups"])
    priced = summary["price_per_hour"] is not None
    head = ["retrieval", *shown, f"{metric} less the first's (95%)", *(f"{metric} of {g}" for g in groups)]
    head += ["p50 ms", "p95 ms", "p99 ms", *(["per 1,000 questions"] if priced else [])]
    rows = [head, ["---"] * len(head)]
    for each in summary["variants"]:
        gap = each["difference"]
        total = each["latency_ms"]["total"]
        row = [each["name"], *(f"{each['metrics'][name]:.4f}" for name in shown)]
        row.append("" if gap is None else f"{gap['difference']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})")
        row += [f"{each['groups'][g]:.4f}" for g in groups]
        row += [f"{total[p]:.1f}" for p in ("p50", "p95", "p99")]
        rows.append(row + ([f"{each['cost_per_thousand']:.4f}"] if priced else []))
    stages = [["stage, ms p50 / p95 / p99", *(v["name"] for v in summary["variants"])]]
    stages.append(["---"] * len(stages[0]))
    for stage in STAGES:
        cells = [v["latency_ms"].get(stage) for v in summary["variants"]]
        if any(cells):
            stages.append([stage, *(f"{c['p50']:.1f} / {c['p95']:.1f} / {c['p99']:.1f}" if c else "" for c in cells)])
    asked = summary["questions"]
    about = f"{asked['n']} questions over {asked['documents']} documents.\n\n"
    answered = _answers(summary.get("answers")) + _attacked(summary.get("attacks")) + _judged(summary["judge"])
    return about + _rows(rows) + "\n" + _rows(stages) + answered + _read(summary.get("reading"))


def _answers(answers: dict[str, Any] | None) -> str:
    if answers is None:
        return ""
    cells = {name: answers["latency_ms"].get(name) for name in ("retrieve", "prompt", "first_token", "check", "total")}
    rows = [["answers, ms", "p50", "p95", "p99"], ["---"] * 4]
    rows += [[name, *(f"{c[p]:.1f}" for p in ("p50", "p95", "p99"))] for name, c in cells.items() if c]
    for name, c in answers["through_ms"].items():
        rows.append([f"{name}, asked through {answers['framework']}", *(f"{c[p]:.1f}" for p in ("p50", "p95", "p99"))])
    cost = answers["cost_per_thousand"]
    told = f"\n{answers['n']} answers, {answers['abstained']} of them that it is not in the documents"
    return told + (f", {cost:.4f} for a thousand" if cost else "") + ".\n\n" + _rows(rows)


def _attacked(attacks: Sequence[dict[str, Any]] | None) -> str:
    """What the pipeline's own logic did, and whether the model repeated what a document told it to say."""
    if not attacks:
        return ""
    parts = list(attacks[0]["held"])
    rows = [["attack", "kind", *parts, "the model"], ["---"] * (len(parts) + 3)]
    for each in attacks:
        held = ["held" if each["held"][part] else "BROKEN" for part in parts]
        rows.append([each["id"], each["kind"], *held, "repeats it" if each["repeated"] else ""])
    held_all = sum(all(each["held"].values()) for each in attacks)
    repeated = sum(each["repeated"] for each in attacks)
    told = f"\n{len(attacks)} attacks from documents through the model: the pipeline held against {held_all}, "
    return told + f"the model repeated {repeated}.\n\n" + _rows(rows)


def _judged(judge: dict[str, Any] | None) -> str:
    if judge is None:
        return ""
    rows = [["answers, judged", "mean (95%)", "unread"], ["---"] * 3]
    for name in ("faithfulness", "relevance"):
        value, low, high = (judge[f"{name}{part}"] for part in ("", "_low", "_high"))
        mean = "" if value is None else f"{value:.3f} ({low:.3f} to {high:.3f})"
        rows.append([name, mean, str(judge[f"{name}_unread"])])
    return f"\n{judge['n']} answers, {judge['abstained']} of them that it is not in the documents.\n\n" + _rows(rows)


def _read(rows: Sequence[dict[str, Any]] | None) -> str:
    if not rows:
        return ""
    head, *others = reading.cells(rows)
    return f"\n{rows[0]['n']} short answers.\n\n" + _rows([head, ["---"] * len(head), *others])


def _rows(rows: list[list[str]]) -> str:
    return "".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |\n" for row in rows)
