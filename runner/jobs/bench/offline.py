"""`vllm bench throughput`: all prompts at once into the engine, without a server between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import spec
from bench.measures import money
from bench.spec import Bench, Cell, Endpoint

TAIL = 400  # characters of what it said last
# of `vllm serve`, which the engine by itself has not
FRONTEND = (
    "--host", "--port", "--served-model-name", "--api-key", "--shutdown-timeout", "--chat-template",
    "--enable-auto-tool-choice", "--tool-call-parser", "--reasoning-parser", "--lora-modules", "--uvicorn-log-level",
    "--disable-log-requests", "--enable-log-requests", "--allowed-origins", "--root-path", "--max-log-len",
)  # fmt: skip


def engine_arguments(argv: list[str]) -> list[str]:
    """The engine's part of a `vllm serve MODEL ...` command line."""
    found = ["--model", argv[2]]
    rest = argv[3:]
    while rest:
        option, *rest = rest
        values = []
        while rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        if option.split("=")[0] not in FRONTEND:
            found += [option, *values]
    return found


def run(bench: Bench, endpoint: Endpoint, cell: Cell) -> bool:
    """One cell in a process of its own. False where it failed."""
    print(f"cell {endpoint.name} {cell['id']}", flush=True)
    replica = json.loads(Path(str(endpoint.spec)).read_text())["replicas"][0]
    out = spec.CELLS / endpoint.name / f"{cell['id']}.throughput"
    out.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "throughput"]
    argv += engine_arguments(replica["argv"])
    argv += ["--dataset-name", "random", "--random-input-len", str(cell["input_len"])]
    argv += ["--random-output-len", str(cell["output_len"])]
    argv += ["--num-prompts", str(cell["num_prompts"]), "--seed", str(cell["seed"] % 2**32), "--output-json", str(out)]
    done = subprocess.run(argv, env={**os.environ, **replica["environment"]}, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode or not out.exists():
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        found: dict[str, Any] = {"status": spec.FAILED, "reason": f"exit code {done.returncode}: {lines[-1][-TAIL:]}"}
    else:
        found = {"status": spec.FINISHED, "reason": "", **_figures(bench, cell, json.loads(out.read_text()))}
    spec.write_result(endpoint.name, cell["id"], {**cell, **found})
    return not done.returncode


def _figures(bench: Bench, cell: Cell, said: dict[str, float]) -> dict[str, Any]:
    """Every prompt and answer has the length that was asked for."""
    output = cell["num_prompts"] * cell["output_len"] / said["elapsed_time"]
    rates = {
        "requests_per_s": said["requests_per_second"],
        "output_tokens_per_s": output,
        "total_tokens_per_s": said["tokens_per_second"],
    }
    found = {**rates, **money(output, bench.price_usd_per_hour)}
    return {"figures": found, "failed_requests": 0, "seconds": said["elapsed_time"]}
