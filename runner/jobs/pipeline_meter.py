"""What a pipeline run reports: metrics.jsonl from rank 0 and measured/rank-N.json from each, as Axolotl's runs do.

A sequence goes through all stages, so that a GPU's share of the tokens is that of a step over all ranks.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from meter import GIB, WARM_UP_STEPS, metrics_file, resident_peak, write_measured


class Meter:
    def __init__(self, engine: Any, given: dict[str, Any], epochs: Callable[[int], float]) -> None:
        self.engine, self.given, self.epochs = engine, given, epochs
        self.rank, self.ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.file = metrics_file()
        rows = given["micro_batch_size"] * given["gradient_accumulation_steps"]
        self.tokens = rows * given["sequence_len"]  # of a step that this copy of the stage sees
        self.began = 0.0
        self.seconds: list[float] = []

    def begin(self) -> None:
        self.began = time.perf_counter()

    def end(self, step: int, loss: float, rate: float) -> None:
        self.seconds.append(time.perf_counter() - self.began)
        if step % self.given["logging_steps"] and step != self.given["max_steps"]:
            return
        norm = self.engine.get_global_grad_norm()
        found = {"loss": round(loss, 5), "learning_rate": rate, "step_s": round(self.seconds[-1], 4)}
        if norm is not None:
            found["grad_norm"] = round(float(norm), 4)
        found["tokens/train_per_sec_per_gpu"] = round(self.share() / self.seconds[-1], 2)
        self.write(step, found | self.memory())
        self.save()

    def event(self, name: str, step: int) -> None:
        self.write(step, {"event": name})
        self.save()

    def share(self) -> float:
        return self.tokens / self.engine.num_stages

    def memory(self) -> dict[str, float]:
        found = {"peak_rss_gib": resident_peak() / GIB}
        if torch.cuda.is_available():
            found["peak_allocated_gib"] = torch.cuda.max_memory_allocated() / GIB
            found["peak_reserved_gib"] = torch.cuda.max_memory_reserved() / GIB
        return {name: round(value, 4) for name, value in found.items()}

    def write(self, step: int, values: dict[str, Any]) -> None:
        if self.rank:
            return
        at = {"step": step, "max_steps": self.given["max_steps"], "epoch": self.epochs(step), "time": time.time()}
        with self.file.open("a") as out:
            out.write(json.dumps({**at, **values}) + "\n")

    def save(self) -> None:
        seconds = self.seconds[WARM_UP_STEPS:]
        took = sum(seconds)
        found = self.memory() | {
            "rank": self.rank,
            "stage": self.engine.stage_id,
            "steps": len(self.seconds),
            "step_s": round(statistics.median(seconds), 5) if seconds else None,
            "tokens_per_s": round(len(seconds) * self.share() / took, 2) if took else None,
            "tokens": self.tokens * len(self.seconds),
            "filled": 1.0,
        }
        write_measured(f"rank-{self.rank}.json", found)
