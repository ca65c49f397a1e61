"""A `bench` recipe -> what each cell should come to, by the serving plan, and how long all of them take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from runner.engines.vllm_bench import cells_of
from runner.facts.boxes import Box
from runner.facts.models import Model, find_model
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import METHODS, method_of, settings_from
from runner.plan.serving.types import Point, ServingPlan
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.profile import model_of_need
from runner.recipe.resolve import Recipe

KIND = "bench"
# the serving plan's constants were fitted to these
PREDICTED = ("vllm", "sglang", "trtllm", "tgi")
# schemes of kind `quantize` -> the way the weights lie in memory
SCHEMES = {
    "FP8": "fp8", "FP8_DYNAMIC": "fp8", "FP8_BLOCK": "fp8", "W8A8": "w8a8", "W8A16": "int8",
    "W4A16": "gptq", "W4A16_ASYM": "awq", "nf4": "nf4", "int8": "int8",
}  # fmt: skip
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One cell. Latencies in ms (`tpot` leaves the first token out), of the whole box; None for a reason that `why`
    tells. `seconds` is how long the cell lasts."""

    endpoint: str
    engine: str
    cell: str
    input_len: int
    output_len: int
    load: str
    num_prompts: int
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    output_tokens_per_s: float | None = None
    usd_per_million_tokens: float | None = None
    seconds: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """Everything that is foreseen of a benchmark. `hours` are of the cells that are foreseen, without the servers'
    starts; `usd` of as many hours of the whole box."""

    recipe: str
    kind: str
    profile: str
    box: str
    gpus: int
    cells: tuple[Foreseen, ...]
    hours: float | None
    usd: float | None
    price_usd_per_hour: float
    fits: str
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = _rounded(asdict(self))
        return {**found, "cells": list(found["cells"]), "notes": list(self.notes)}


def plan_bench(project: Project, recipe: Recipe, box: Box | None = None, price: float | None = None) -> BenchPlan:
    """`box` instead of the recipe's own, `price` in USD per hour of it. A cell that can't be foreseen says why."""
    box = box or recipe.box
    box = box if price is None else replace(box, price_usd_per_hour=price)
    cells, verdicts = [], []
    for i, entry in enumerate(recipe.values["endpoints"]):
        found, fits = _endpoint(project, recipe, i, entry, box)
        cells += found
        verdicts.append(fits)
    known = [cell.seconds for cell in cells if cell.seconds is not None]
    hours = sum(known) / 3600 if known else None
    return BenchPlan(
        recipe=recipe.name,
        kind=recipe.kind,
        profile=recipe.profile,
        box=box.name,
        gpus=box.total_gpus,
        cells=tuple(cells),
        hours=hours,
        usd=hours * box.price_usd_per_hour if hours is not None and box.price_usd_per_hour else None,
        price_usd_per_hour=box.price_usd_per_hour,
        fits="no" if "no" in verdicts else "tight" if "tight" in verdicts else "yes",
        notes=tuple(_notes(cells)),
    )


def _notes(cells: list[Foreseen]) -> Iterator[str]:
    if any(cell.seconds is None for cell in cells):
        without = ", ".join(dict.fromkeys(c.endpoint for c in cells if c.seconds is None))
        yield f"the time has not all cells in it: {without}"
    yield "each server's start, warm-ups and downloads come on top"


def _endpoint(
    project: Project, recipe: Recipe, index: int, entry: dict[str, Any], box: Box
) -> tuple[list[Foreseen], str]:
    engine = entry.get("engine", "vllm")
    cells = cells_of(recipe.values, engine, has_server="url" not in entry)
    model, method = served_model(project, recipe, f"endpoints.{index}", entry)
    why = _why_not(entry, engine, box, model)
    plans: dict[tuple[int, int, float | None], ServingPlan] = {}
    found, fits = [], "yes"
    for cell in cells:
        told = _described(entry["name"], engine, cell)
        if why or model is None:
            found.append(replace(told, why=why))
            continue
        key = (cell["input_len"], cell["output_len"], cell.get("rate"))
        try:
            if key not in plans:
                plans[key] = _plan(recipe, entry, model, method, box, cell)
        except ValueError as error:
            found.append(replace(told, why=str(error)))
            continue
        fits = plans[key].fits if plans[key].fits != "yes" else fits
        found.append(_cell(told, cell, plans[key]))
    return found, fits


def _why_not(entry: dict[str, Any], engine: str, box: Box, model: Model | None) -> str:
    if "url" in entry:
        return "the machine behind the address is not known"
    if not box.gpus:
        return f"`{box.name}` has no GPU: what a processor does is not planned"
    if engine not in PREDICTED:
        return f"the plan knows serving engines, not `{engine}`"
    return "" if model is not None else f"nothing is known about the model `{entry.get('model')}`"


def served_model(project: Project, recipe: Recipe, path: str, entry: dict[str, Any]) -> tuple[Model | None, str]:
    """The model of the server whose keys stand at `path`, and how its weights lie in memory: as the server is told, as
    the checkpoint says, or as the recipe that leaves it will make them."""
    node = recipe.doc.find(f"{path}.model")
    library = Library(project, recipe.profile)
    need, upstream = model_of_need(library, recipe.doc, str(node.value) if node is not None else "")
    found = find_model(str(entry.get("model", "")), project.root) or need
    scheme = upstream.find("scheme") if upstream is not None else None
    made = SCHEMES.get(str(scheme.value), "none") if scheme is not None else "none"
    stored = method_of(found.config) if found is not None else "none"
    given = METHODS.get(str(entry.get("quantization") or ""), "none")
    return found, next((m for m in (given, stored, made) if m != "none"), "none")


def _plan(
    recipe: Recipe, entry: dict[str, Any], model: Model, method: str, box: Box, cell: dict[str, Any]
) -> ServingPlan:
    values = {
        **entry,
        "quantization": method,
        "data_parallel_size": int(entry.get("replicas") or 1) * int(entry.get("data_parallel_size") or 1),
        "input_len": cell["input_len"],
        "output_len": cell["output_len"],
        "request_rate": cell.get("rate"),
        "shared_prefix_len": 0,
    }
    at = [n for n in recipe.values.get("concurrency") or () if isinstance(n, int)]
    return plan_serving(model.architecture, box, settings_from(values), entry["name"], at=at)


def _described(name: str, engine: str, cell: dict[str, Any]) -> Foreseen:
    load = {"concurrency": "{concurrency} at a time", "rate": "{rate:g}/s", "saturation": "sweep", "offline": "offline"}
    words = load[cell["mode"]].format(**{"concurrency": None, "rate": 0, **cell})
    return Foreseen(name, engine, cell["id"], cell["input_len"], cell["output_len"], words, cell["num_prompts"])


def _cell(told: Foreseen, cell: dict[str, Any], plan: ServingPlan) -> Foreseen:
    peak = plan.peak
    if plan.fits == "no" or peak is None or peak.tokens_per_s is None:
        return replace(told, why=plan.verdict)
    tokens = cell["num_prompts"] * cell["output_len"]
    if cell["mode"] == "concurrency":
        point = next((p for p in plan.points if p.concurrency == cell["concurrency"] and p.tokens_per_s), None)
        carried = point.tokens_per_s if point is not None and point.tokens_per_s is not None else peak.tokens_per_s
        told = replace(told, seconds=tokens / carried.value)
        return _at(told, point) if point is not None else replace(told, why=plan.points[-1].why)
    if cell["mode"] == "rate":
        assert plan.rate is not None
        answered = min(cell["rate"], plan.rate.capacity or cell["rate"])
        told = replace(told, seconds=cell["num_prompts"] / answered)
        return _at(told, plan.rate.point) if plan.rate.point is not None else replace(told, why=plan.rate.why)
    if cell["mode"] == "offline":
        told = replace(told, seconds=tokens / peak.tokens_per_s.value)
        return replace(told, output_tokens_per_s=peak.tokens_per_s.value, why="")
    return replace(told, why="what the sweep is for", seconds=_sweep_seconds(cell, peak))


def _at(told: Foreseen, point: Point) -> Foreseen:
    return replace(
        told,
        ttft_ms=point.first_token_ms.value if point.first_token_ms else None,
        tpot_ms=point.per_token_ms.value if point.per_token_ms else None,
        output_tokens_per_s=point.tokens_per_s.value if point.tokens_per_s else None,
        usd_per_million_tokens=point.usd_per_million_tokens,
    )


def _sweep_seconds(cell: dict[str, Any], peak: Point) -> float:
    """Doublings up to the rate at which most tokens come out, and one beyond."""
    assert peak.tokens_per_s is not None
    capacity = peak.tokens_per_s.value / cell["output_len"]
    total, rate = 0.0, float(cell["start_rate"])
    while rate <= cell["most_rate"]:
        count = max(cell["num_prompts"], round(rate * cell["seconds"]))
        total += count / min(rate, capacity)
        if rate > capacity:
            break
        rate *= 2
    return total


def predicted_cells(plan: BenchPlan) -> dict[str, Any]:
    """What a run keeps beside what it measures, by `endpoint/cell`; jobs/bench puts it into the table."""
    names = ("ttft_ms", "tpot_ms", "output_tokens_per_s", "why")
    return {f"{c.endpoint}/{c.cell}": {name: _rounded(getattr(c, name)) for name in names} for c in plan.cells}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
