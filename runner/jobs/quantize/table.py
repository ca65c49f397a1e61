"""The gate's findings as files: whole as JSON, and a row of figures for people."""

import csv
from pathlib import Path
from typing import Any

from .records import write_json

GIB = 2**30


def write_table(folder: Path, found: dict[str, Any]) -> None:
    write_json(folder / "gate.json", found)
    row = figures(found)
    write_json(folder / "table.json", {"columns": list(row), "rows": [row]})
    with (folder / "table.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(row))
        writer.writeheader()
        writer.writerow(row)
    head, line = (" | ".join(map(str, cells)) for cells in (row, map(shown, row.values())))
    (folder / "table.md").write_text(f"| {head} |\n|{'---|' * len(row)}\n| {line} |\n\n{found['verdict']}\n")


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """One row, by the names of its columns."""
    text, task, speed = found["perplexity"], found["task"] or {}, found["decode_tokens_per_s"]
    return {
        "scheme": found["scheme"],
        "method": found["method"],
        "GiB": found["bytes"] / GIB,
        "GiB before": found["bytes_before"] / GIB,
        "bits/weight": found["bits_per_weight"],
        "perplexity before": text["before"],
        "perplexity after": text["after"],
        "recovery": text["recovery"],
        "recovery low": text["interval"][0],
        "recovery high": text["interval"][1],
        "task before": task.get("before"),
        "task after": task.get("after"),
        "task recovery": task.get("recovery"),
        "task recovery low": task.get("interval", [None, None])[0],
        "task recovery high": task.get("interval", [None, None])[1],
        "quantizing s": found["seconds"],
        "peak GPU GiB": found["peak_gib"],
        "peak RSS GiB": found["peak_rss_gib"],
        "tokens/s before (transformers)": speed["before"],
        "tokens/s after (transformers)": speed["after"],
        "passed": found["passed"],
    }


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
