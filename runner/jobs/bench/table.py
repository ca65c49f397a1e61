"""Results of all cells -> table.json, table.csv and table.md, with what was predicted beside what was measured."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import spec
from bench.spec import Bench, Cell, Endpoint

OUTPUT = Path("output")
RECORD = Path("run.json")  # the runner's, which says what its plan foresaw
_LATENCIES = [f"{name}_p{share}_ms" for name in ("ttft", "tpot", "itl", "e2e") for share in (50, 95, 99)]
PREDICTED = ("ttft_ms", "tpot_ms", "output_tokens_per_s")
COLUMNS = [
    "endpoint", "engine", "model", "input_len", "output_len", "mode", "concurrency", "rate", "status", "reason",
    "num_prompts", "failed_requests", "cached_share", "seconds", "requests_per_s", "goodput_per_s",
    "output_tokens_per_s", "total_tokens_per_s", *_LATENCIES, "tokens_per_s_per_usd_hour", "usd_per_million_tokens",
    *(f"predicted_{name}" for name in PREDICTED), "predicted_why_not",
]  # fmt: skip
# column -> head in the page; the rest is in table.csv
SHOWN = {
    "endpoint": "endpoint", "input_len": "in", "output_len": "out", "load": "load", "status": "cell",
    "output_tokens_per_s": "tokens/s", "predicted_output_tokens_per_s": "predicted", "ttft_p50_ms": "TTFT p50",
    "ttft_p99_ms": "p99", "predicted_ttft_ms": "predicted", "tpot_p50_ms": "TPOT p50", "tpot_p99_ms": "p99",
    "predicted_tpot_ms": "predicted", "itl_p99_ms": "ITL p99", "e2e_p99_ms": "e2e p99", "goodput_per_s": "goodput/s",
    "usd_per_million_tokens": "$/M tokens",
}  # fmt: skip
NOTES = (
    "Times are in ms. TTFT: from sending to the first token. TPOT: per token after the first, which is not counted. "
    "ITL: single pauses between pieces of the stream. e2e: from sending to the last token.",
    "Tokens/s are output tokens of the whole cell, its start and end included. Dollars are the whole box's.",
)


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    told = _predicted()
    for endpoint in bench.endpoints:
        for cell in endpoint.cells:
            inner = list(spec.below(endpoint.name, cell)) if cell["mode"] == spec.SATURATION else []
            for name, found in inner:
                chosen = {f"{endpoint.name}/{name}": {"why": "the sweep chose this rate as it ran"}}
                yield _row(endpoint, {**found, "id": name}, found, chosen)
            yield _row(endpoint, cell, spec.result(endpoint.name, cell["id"]), told)


def _row(endpoint: Endpoint, cell: Cell, found: dict[str, Any] | None, told: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"endpoint": endpoint.name, "engine": endpoint.engine, "model": endpoint.model}
    row |= {key: cell.get(key) for key in ("input_len", "output_len", "mode", "concurrency", "rate", "num_prompts")}
    if found is None:
        row |= {"status": spec.FAILED, "reason": _no_server(endpoint)}
    else:
        row |= {key: found.get(key) for key in ("status", "failed_requests", "cached_share", "seconds", "rate")}
        row["reason"] = found.get("reason") or None
        if found["status"] != spec.FAILED:  # figures of a warm cache are not to be compared with anything
            row |= {key: value for key, value in found["figures"].items() if key in row}
    return row | _foreseen(endpoint, cell, told)


def _no_server(endpoint: Endpoint) -> str:
    """Why a cell was not run: what the endpoint said when it ended."""
    try:
        return str(json.loads((spec.CELLS / endpoint.name / "endpoint.error").read_text())["error"])
    except (OSError, ValueError, KeyError):
        return "not run"


def _predicted() -> dict[str, Any]:
    """Of each cell, by `endpoint/id`; empty where the run was started by hand."""
    try:
        found: dict[str, Any] = json.loads(RECORD.read_text())["predicted"]["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found


def _foreseen(endpoint: Endpoint, cell: Cell, told: dict[str, Any]) -> dict[str, Any]:
    found = told.get(f"{endpoint.name}/{cell['id']}", {"why": "no plan was made of this cell"})
    row = {f"predicted_{name}": found.get(name) for name in PREDICTED}
    return row | {"predicted_why_not": found.get("why") or None}


def write(bench: Bench, folder: Path = OUTPUT) -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    found = list(rows(bench))
    whys = dict.fromkeys(r["predicted_why_not"] for r in found if r["predicted_why_not"] and r["status"] is not None)
    notes = [*NOTES, *_about(bench), *(f"Not predicted: {why}." for why in whys)]
    table = {
        "columns": COLUMNS,
        "rows": found,
        "notes": notes,
        "objective": bench.objective or None,
        "box": bench.box,
        "price_usd_per_hour": bench.price_usd_per_hour or None,
    }
    (folder / "table.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    with (folder / "table.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    (folder / "table.md").write_text("\n".join(page(found, notes)) + "\n")
    return found


def _about(bench: Bench) -> Iterator[str]:
    price = f", {bench.price_usd_per_hour:g} USD per hour" if bench.price_usd_per_hour else ", no price known"
    yield f"Box {bench.box}{price}."
    if bench.objective:
        bounds = ", ".join(f"{name.removesuffix('_ms')} <= {bound:g} ms" for name, bound in bench.objective.items())
        yield f"Goodput counts requests with {bounds}."


def page(found: list[dict[str, Any]], notes: list[str]) -> Iterator[str]:
    """Markdown; columns that hold nothing in any row are left out."""
    shown = [{**row, "load": load_of(row)} for row in found]
    keys = [key for key in SHOWN if any(row.get(key) is not None for row in shown)]
    yield "| " + " | ".join(SHOWN[key] for key in keys) + " |"
    yield "|" + "|".join("---" if key in ("endpoint", "load", "status") else "---:" for key in keys) + "|"
    for row in shown:
        yield "| " + " | ".join(_cell(row.get(key)) for key in keys) + " |"
    yield ""
    for row in shown:
        if row["reason"]:
            yield f"- {row['endpoint']}, {row['input_len']}/{row['output_len']}, {row['load']}: {row['reason']}"
    yield from (f"- {note}" for note in notes)


def load_of(row: dict[str, Any]) -> str:
    if row["mode"] == spec.CONCURRENCY:
        return f"{row['concurrency']} at a time"
    if row["mode"] == spec.OFFLINE:
        return "offline"
    rate = f"{row['rate']:g}/s" if row["rate"] else "?"
    return f"best of the sweep, {rate}" if row["mode"] == spec.SATURATION else rate


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
