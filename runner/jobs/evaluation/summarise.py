"""What lm-eval, the sandbox and the judge left -> summary.json and a row of metrics.jsonl; the format is in FORMAT.

summary.json: `format`, `lm_eval` (version), `model`, `chat_template` (hash), `limit`, `tasks`, `groups`, `judge`.
A task: `n`, `num_fewshot`, `version`, `documents` (hash over all documents that were asked), `prompts` (the same over
the prompts), `samples` (file of rows), `metrics`; a metric: `value`, `stderr` (null where there is none), `n`,
`higher_is_better`. lm-eval's `,none` after a metric's name is dropped, other filters stay: `exact_match,strict-match`.
A group has `tasks` and `metrics`.
"""

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

from . import Problem

FORMAT = 1
SUMMARY = "summary.json"
# of a headline
SHOWN = 3


def summarise(folder: Path) -> None:
    reports = [json.loads(file.read_text()) for file in sorted(folder.glob("lm_eval_*.json"))[-1:]]
    if (folder / "code.json").is_file():
        reports.append(json.loads((folder / "code.json").read_text()))
    if not reports:
        raise Problem("lm-eval left no results")
    summary: dict[str, Any] = {
        "format": FORMAT,
        "lm_eval": reports[0].get("lm_eval_version"),
        "model": reports[0].get("model_name"),
        "chat_template": reports[0].get("chat_template_sha"),
        "limit": reports[0].get("config", {}).get("limit"),
        "tasks": {},
        "groups": {},
    }
    for report in reports:
        tasks = {name: _task(folder, report, name) for name in report["configs"]}
        summary["tasks"] |= tasks
        for name, members in report.get("group_subtasks", {}).items():
            if members and name in report.get("results", {}):
                below = _leaves(report["group_subtasks"], name)
                summary["groups"][name] = {"tasks": below, "metrics": _metrics(report, name)}
    if (folder / "judge.json").is_file():
        summary["judge"] = json.loads((folder / "judge.json").read_text())
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    scores = {
        f"score/{task}/{metric}": each["value"]
        for task, entry in (summary["groups"] | summary["tasks"]).items()
        for metric, each in entry["metrics"].items()
    }
    row = {"time": time.time(), **scores, "headline": headline(summary)}
    with Path("metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps(row) + "\n")
    print(row["headline"], flush=True)


def headline(summary: dict[str, Any]) -> str:
    """The first metric of each task that was asked for: of a group its own, of many the first few."""
    inside = {task for group in summary["groups"].values() for task in group["tasks"]}
    top = {**summary["groups"], **{name: t for name, t in summary["tasks"].items() if name not in inside}}
    words = []
    for name, entry in top.items():
        if entry["metrics"]:
            metric, each = next(iter(entry["metrics"].items()))
            spread = f" ±{each['stderr']:.3f}" if each["stderr"] is not None else ""
            words.append(f"{name} {metric} {each['value']:.3f}{spread}")
    more = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
    judged = summary.get("judge")
    won = [f"judged win rate {judged['win_rate']:.2f}"] if judged and judged["win_rate"] is not None else []
    return ", ".join([*words[:SHOWN], *more, *won])


def _task(folder: Path, report: dict[str, Any], name: str) -> dict[str, Any]:
    files = sorted(folder.glob(f"samples_{name}_*.jsonl"))
    # `samples_a_b_DATE` belongs to the task `a_b`, not to `a`
    files = [f for f in files if f.stem.removeprefix(f"samples_{name}_")[:1].isdigit() or f.stem.endswith("_code")]
    if not files:
        raise Problem(f"lm-eval left no samples of {name}")
    rows = [json.loads(line) for line in files[-1].read_text().splitlines()]
    scored = report.get("scored", {}).get(name)
    metrics = _scored(rows, scored) if scored is not None else _metrics(report, name)
    return {
        "n": len({row["doc_id"] for row in rows}),
        "num_fewshot": report.get("n-shot", {}).get(name),
        "version": report.get("versions", {}).get(name),
        "documents": _hash(sorted({row["doc_hash"] for row in rows})),
        "prompts": _hash(sorted({row["prompt_hash"] for row in rows})),
        "samples": files[-1].name,
        "metrics": metrics,
    }


def _metrics(report: dict[str, Any], name: str) -> dict[str, Any]:
    found = {}
    better = report.get("higher_is_better", {}).get(name) or {}
    counted = (report.get("n-samples", {}).get(name) or {}).get("effective")
    entries = report["results"].get(name) or {}
    for key, value in entries.items():
        metric, comma, rest = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
            continue
        stderr = entries.get(f"{metric}_stderr,{rest}")
        found[metric if rest == "none" else key] = {
            "value": value,
            "stderr": stderr if isinstance(stderr, (int, float)) and math.isfinite(stderr) else None,
            "n": counted,
            "higher_is_better": better.get(metric, True),
        }
    return found


def _scored(rows: list[dict[str, Any]], scored: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for k in scored["ks"]:
        values = [row[f"pass@{k}"] for row in rows if f"pass@{k}" in row]
        if not values:
            continue
        n, mean = len(values), sum(values) / len(values)
        spread = sum((v - mean) ** 2 for v in values) / (n - 1) if n > 1 else None
        stderr = math.sqrt(spread / n) if spread is not None else None
        found[f"pass@{k}"] = {"value": mean, "stderr": stderr, "n": n, "higher_is_better": True}
    return found


def _leaves(groups: dict[str, list[str]], name: str) -> list[str]:
    below = groups.get(name) or []
    return [leaf for each in below for leaf in _leaves(groups, each)] if below else [name]


def _hash(words: list[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
