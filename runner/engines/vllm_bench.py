"""vLLM's benchmark client against endpoints of several engines, each started once; jobs/bench in vLLM's environment."""

from __future__ import annotations

import math
import zlib
from dataclasses import asdict
from itertools import product
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.axolotl import failure as traceback_in
from runner.engines.serving import endpoint_spec
from runner.facts.models import catalogue
from runner.recipe.resolve import Recipe

ENVIRONMENT = "vllm"
PACKAGES = ("bench", "endpoint")
SAID = "bench: error: "
# as in data/kinds/bench.yaml
DEFAULTS: dict[str, Any] = {
    "arrival": "poisson",
    "start_rate": 1.0,
    "most_rate": 128.0,
    "seconds": 30.0,
    "num_prompts": 32,
    "rounds": 5,
    "warmup": 4,
    "seed": 0,
    "most_cached": 0.01,
}
# of an entry of `endpoints`, not for its server
OWN = ("name", "engine", "url")
# in smoke two runs go on at a time, and on a laptop something listens on 8000 already
SMOKE_PORTS = range(20000, 30000)


def jobs(recipe: Recipe) -> tuple[str, ...]:
    packages = (f"{p}/{file.name}" for p in PACKAGES for file in sorted((jobs_dir() / p).glob("*.py")))
    return (*(("build_tiny.py",) if recipe.tiny is not None else ()), *packages)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = []
    if recipe.tiny is not None:
        found.append(Step("build", "a tokenizer and a model to stand in for the real ones"))
    names = ", ".join(e["name"] for e in recipe.values["endpoints"])
    return (*found, Step("bench", names), Step("plot", "latency against throughput"))


def context(recipe: Recipe) -> dict[str, Any]:
    served = {e["name"]: served_endpoint(recipe, e) for e in recipe.values["endpoints"] if "url" not in e}
    return {
        "bench": _bench(recipe, served),
        "endpoints": served,
        "proxied": {name: made for name, made in served.items() if made["proxy"]},
        "cpu": recipe.box.gpus == 0,
        # client and server each take a core; transformers on two that are busy is twenty times slower than on one
        "threads": int(recipe.profile == "smoke"),
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,
    }


def served_endpoint(recipe: Recipe, entry: dict[str, Any]) -> dict[str, Any]:
    """endpoint.json of one entry."""
    engine, name = entry.get("engine", "vllm"), entry["name"]
    values = {key: value for key, value in entry.items() if key not in OWN}
    if engine == "transformers":
        values["served_model_name"] = values["model"]  # it answers to no other name
    if recipe.profile == "smoke":
        place = zlib.crc32(f"{recipe.name}/{name}".encode()) % (len(SMOKE_PORTS) // 10)
        values["port"] = SMOKE_PORTS[place * 10]  # and nine more for replicas
    made = endpoint_spec(values, engine=engine, box=recipe.box, profile=recipe.profile, name=name)
    if made["proxy"]:
        made["proxy"]["argv"] = [*made["proxy"]["argv"][:-1], f"endpoints/{name}.cfg"]
    for replica in made["replicas"]:
        replica["name"] = f"{name}-{replica['name']}"  # so that each has a log of its own
        if recipe.profile == "smoke":
            replica["environment"]["OMP_NUM_THREADS"] = "1"  # the client takes the other core
    return made


def _bench(recipe: Recipe, served: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """bench.json, as jobs/bench/spec.py reads it."""
    values = {**DEFAULTS, **recipe.values}
    found = []
    for i, entry in enumerate(values["endpoints"]):
        name, engine, model = entry["name"], entry.get("engine", "vllm"), entry["model"]
        tokenizer = str(entry.get("tokenizer") or model)
        if "url" in entry:  # what that endpoint calls it, which may also be a name of ours
            model = recipe.doc.find(f"endpoints.{i}.model").plain()  # type: ignore[union-attr]
        found.append(
            {
                "name": name,
                "engine": engine,
                "model": model,
                "tokenizer": catalogue()[tokenizer].hub if tokenizer in catalogue() else tokenizer,
                "spec": f"endpoints/{name}.json" if name in served else None,
                "url": entry.get("url"),
                "cells": cells_of(recipe.values, engine, has_server=name in served),
            }
        )
    return {
        "box": recipe.box.name,
        "price_usd_per_hour": recipe.box.price_usd_per_hour,
        "objective": values.get("objective") or {},
        "warmup": values["warmup"],
        "most_cached": values["most_cached"],
        "dataset": values.get("dataset"),
        "endpoints": found,
    }


def cells_of(given: dict[str, Any], engine: str = "vllm", has_server: bool = True) -> list[dict[str, Any]]:
    """Every cell of one endpoint: each shape under each load. `first_row` is where its prompts begin in a dataset."""
    values = {**DEFAULTS, **given}
    offline = bool(values.get("offline")) and engine == "vllm" and has_server
    found, row = [], 0
    for (into, out), load in product(values["shapes"], [*_loads(values), *([{"mode": "offline"}] if offline else [])]):
        cell = {"id": f"in{into}-out{out}-{_called(load)}", "input_len": into, "output_len": out, **load}
        cell["num_prompts"] = prompts_of(values, cell)
        # shape and load decide, so that all endpoints see the same prompts
        cell["seed"] = zlib.crc32(f"{values['seed']}/{cell['id']}".encode())
        cell["first_row"] = row
        row += _rows(values, cell)
        found.append(cell)
    return found


def _loads(values: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"mode": "concurrency", "concurrency": n} for n in values.get("concurrency") or ()]
    burstiness = {"burstiness": "inf" if values["arrival"] == "constant" else 1}
    found += [{"mode": "rate", "rate": rate, **burstiness} for rate in values.get("request_rates") or ()]
    if values.get("sweep"):
        rates = {"start_rate": values["start_rate"], "most_rate": values["most_rate"], "seconds": values["seconds"]}
        found.append({"mode": "saturation", **rates, **burstiness})
    return found


def _called(load: dict[str, Any]) -> str:
    if load["mode"] == "concurrency":
        return f"c{load['concurrency']}"
    return f"r{load['rate']:g}" if load["mode"] == "rate" else str(load["mode"])


def prompts_of(values: dict[str, Any], cell: dict[str, Any]) -> int:
    """Enough that the cell's start and end, when fewer requests are under way, weigh little. Offline as many as with
    most at a time."""
    most: int = max(values.get("concurrency") or [0]) if cell["mode"] == "offline" else 0
    slots = int(cell.get("concurrency") or most)
    arriving = math.ceil(float(cell.get("rate") or 0) * float(values["seconds"]))
    return max(int(values["num_prompts"]), int(values["rounds"]) * slots, arriving)


def _rows(values: dict[str, Any], cell: dict[str, Any]) -> int:
    """Prompts that a cell takes at most."""
    warmup, count = int(values["warmup"]), int(cell["num_prompts"])
    if cell["mode"] != "saturation":
        return warmup + count
    total, rate = 0, float(cell["start_rate"])
    while rate <= cell["most_rate"] or not total:
        total += warmup + max(count, round(rate * cell["seconds"]))
        rate *= 2
    return total


def failure(log: str) -> str | None:
    said = [line.removeprefix(SAID) for line in log.splitlines() if line.startswith(SAID)]
    return said[-1] if said else traceback_in(log)
