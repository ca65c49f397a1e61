"""What a run measured, under the names that a plan predicts it by, and the two side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.engines import load_engine
from runner.engines.environment import environment
from runner.facts.families import architecture_of
from runner.facts.models import hub_cache
from runner.launch.local import Ended
from runner.plan.as_json import estimates
from runner.plan.bench import KIND as BENCH
from runner.plan.bench import plan_bench, predicted_cells
from runner.plan.rag import KIND as RAG
from runner.plan.rag import plan_rag, predicted_run
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.artifacts import MODEL_KEYS
from runner.recipe.resolve import Recipe
from runner.recipe.sweep.children import step_tokens

# where each rank leaves what it measured (runner/jobs/meter.py)
MEASURED = "measured"
GIB = 2**30
# name -> how a person reads it
SHOWN = {
    "memory.peak_gib": ("peak", "GiB"),
    "memory.reserved_gib": ("reserved", "GiB"),
    "host.ram_gib": ("host RAM", "GiB"),
    "disk.gib": ("disk", "GiB"),
    "speed.tokens_per_s_per_gpu": ("speed", "tok/s per GPU"),
    "speed.step_s": ("step", "s"),
    "time.steps": ("steps", ""),
    "time.hours": ("time", "h"),
    "index.passages": ("passages", ""),
    "index.gib": ("index", "GiB"),
    "ingest.passages_per_s": ("embedding", "passages/s"),
}
# what a run of kind `rag` leaves about its index
INGEST = "ingest.json"


def foreseen(recipe: Recipe) -> Plan | None:
    """None where the model behind the recipe is not known, or its config makes no sense: the run will tell. Of kinds
    that train nothing too."""
    from runner.plan.any import has_plan  # much to import for who only reads a record
    from runner.plan.make import make_plan
    from runner.plan.reading import Unplannable

    if recipe.kind in (BENCH, RAG) or not has_plan(recipe.kind):
        return None
    try:
        return make_plan(recipe)
    except (Unplannable, ValueError):
        return None


def foreseen_otherwise(project: Project, recipe: Recipe) -> dict[str, Any] | None:
    """What a benchmark's cells should come to, for its own table, and what an index should; None of another kind."""
    if recipe.kind == RAG:
        return predicted_run(plan_rag(project, recipe))
    return {"cells": predicted_cells(plan_bench(project, recipe))} if recipe.kind == BENCH else None


def predicted(plan: Plan) -> dict[str, float | int]:
    """The figures of a plan that a run can be held against. A box without GPUs has no GPU memory to speak of."""
    found: dict[str, float | int] = {k: float(f"{e.value:.6g}") for k, e in estimates(plan).items() if k in SHOWN}
    if not plan.gpus:
        found = {name: value for name, value in found.items() if not name.startswith("memory.")}
    return found if plan.length.steps is None else {**found, "time.steps": plan.length.steps}


def measured(recipe: Recipe, run: Path, ended: Ended, metrics: dict[str, Any]) -> dict[str, Any]:
    """The same figures of a run, where it came to them; of GPU memory and steps those of the rank that needed most.

    `host.ram_gib` adds up the peaks of the training processes' resident memory, in which what they share counts for
    each; or it is that of another step's process, where one needed more. `host.parts_gib` is what all processes of a
    part held at the same moment, helpers included, what they share counted once: looked up now and then, and less
    where other programs share libraries with the run. With GPUs, where helpers are as many as cores, it counts too.
    """
    ranks = read_ranks(run)
    together = [sum(_values(ranks, "peak_rss_gib")), *(ended.resident_gib.values() if recipe.box.gpus else ())]
    steps = metrics.get("max_steps") if metrics.get("step") == metrics.get("max_steps") else None
    seconds = metrics.get("train_runtime", metrics.get("quantize_runtime"))
    found = {
        "memory.peak_gib": _most(ranks, "peak_allocated_gib"),
        "memory.reserved_gib": _most(ranks, "peak_reserved_gib"),
        "host.ram_gib": round(max(ended.peak_rss_gib, *together), 3),
        "disk.gib": round(disk_bytes(recipe, run) / GIB, 3),
        "speed.tokens_per_s_per_gpu": _mean(ranks, "tokens_per_s"),
        "speed.step_s": _most(ranks, "step_s"),
        "time.steps": steps,
        "time.hours": round(seconds / 3600, 5) if isinstance(seconds, (int, float)) else None,
        "host.ranks_gib": _values(ranks, "peak_rss_gib") or None,
        "host.parts_gib": {part: round(held, 3) for part, held in ended.resident_gib.items()} or None,
        "peak_process_rss_gib": round(ended.peak_rss_gib, 3),
        **(ingested(run) if recipe.kind == RAG else {}),
    }
    return {name: value for name, value in found.items() if value is not None}


def ingested(run: Path) -> dict[str, Any]:
    """Of an index, as its ingest says. How fast passages were embedded is of those that were not known from before."""
    try:
        found = json.loads((run / INGEST).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    figures = {"index.passages": found.get("passages"), "ingest.passages_per_s": found.get("computed_per_s")}
    figures["index.gib"] = round(found["bytes"] / GIB, 5) if isinstance(found.get("bytes"), int) else None
    return figures


def scaling(recipe: Recipe, found: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any] | None:
    """What a scaling law is fitted to: `params` (all, embeddings too), `tokens` trained on, `flops` as 6 x params x
    tokens (Hoffmann et al. 2022), and `loss` in nats per token, of the last evaluation or else the last of training.

    None of a run that is not from scratch, or did not come to its end.
    """
    steps = found.get("time.steps")
    loss = metrics.get("eval_loss", metrics.get("loss"))
    if recipe.architecture is None or not steps or not isinstance(loss, (int, float)):
        return None
    try:
        params = architecture_of(recipe.architecture).parameters
    except ValueError:
        return None
    tokens = metrics.get("tokens") or steps * step_tokens(recipe.values, max(1, recipe.box.total_gpus))
    return {"params": params, "tokens": tokens, "flops": 6 * params * tokens, "loss": loss}


def read_ranks(run: Path) -> list[dict[str, Any]]:
    """What the training processes left, by rank; those that were killed before they wrote any are missing."""
    found = []
    for file in sorted((run / MEASURED).glob("rank-*.json")):
        try:
            found.append(json.loads(file.read_text()))
        except (OSError, ValueError):
            continue
    return sorted((r for r in found if isinstance(r, dict)), key=lambda r: int(r.get("rank", 0)))


def _values(ranks: list[dict[str, Any]], key: str) -> list[float]:
    return [float(r[key]) for r in ranks if isinstance(r.get(key), (int, float))]


def _most(ranks: list[dict[str, Any]], key: str) -> float | None:
    return max(_values(ranks, key), default=None)


def _mean(ranks: list[dict[str, Any]], key: str) -> float | None:
    values = _values(ranks, key)
    return round(sum(values) / len(values), 2) if values else None


def disk_bytes(recipe: Recipe, run: Path) -> int:
    """The run's own files, the engine's environment, and what the run took from the hub."""
    names = [str(recipe.values.get(key, "")) for key in MODEL_KEYS]
    data = [item.get("path", "") for item in recipe.values.get("datasets") or () if isinstance(item, dict)]
    cached = [hub_cache() / f"models--{name.replace('/', '--')}" for name in names]
    cached += [hub_cache() / f"datasets--{str(name).replace('/', '--')}" for name in data]
    env = environment(load_engine(recipe.engine).ENVIRONMENT).record()
    return folder_bytes(run) + int(env.get("bytes", 0)) + sum(folder_bytes(c) for c in cached if c.is_dir())


def folder_bytes(folder: Path) -> int:
    """Of the files below; links count nothing, what they lead to is somebody else's."""
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def side_by_side(said: dict[str, Any], found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """`(what, predicted, measured)` for every figure that at least one of the two has."""
    rows = []
    for name, (word, unit) in SHOWN.items():
        if name in said or name in found:
            rows.append((f"{word} ({unit})" if unit else word, number(said.get(name)), number(found.get(name))))
    return rows


def one_line(said: dict[str, Any], found: dict[str, Any]) -> str:
    """`predicted/measured: host RAM 0.97/0.94 GiB, steps 40/40`, of what both have; empty where there is nothing."""
    words = [
        f"{word} {number(said[name])}/{number(found[name])} {unit}".rstrip()
        for name, (word, unit) in SHOWN.items()
        if name in said and name in found
    ]
    return f"predicted/measured: {', '.join(words)}" if words else ""


def number(value: Any) -> str:
    """Three digits, thousands apart; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
