"""The cells of one endpoint, one by one, while its server runs: prompts, load, what the prefix cache did, figures."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import prometheus, spec
from bench.client import Load, Target, send
from bench.measures import figures
from bench.prompts import file_prompts, random_prompts
from bench.saturation import saturate
from bench.spec import Bench, Cell, Endpoint

ERRORS_TOLD = 3


class Runner:
    """One endpoint that answers now. `taken` counts the rows of the dataset that earlier cells have used."""

    def __init__(self, bench: Bench, endpoint: Endpoint) -> None:
        from transformers import AutoTokenizer

        self.bench, self.endpoint = bench, endpoint
        url = os.environ.get("ENDPOINT_URL") or str(endpoint.url)
        url = url.rstrip("/").removesuffix("/v1")
        model = os.environ.get("ENDPOINT_MODEL") or endpoint.model
        if endpoint.spec:  # on this machine: no proxy of the network's stands between
            os.environ |= {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        self.target = Target(url, model, endpoint.engine, endpoint.tokenizer)
        self.tokenizer = AutoTokenizer.from_pretrained(endpoint.tokenizer)
        self.taken = 0
        # prompts of a server that we didn't start must differ from those of the last benchmark of it
        self.salt = 0 if endpoint.spec else time.time_ns() % 2**31

    def run(self) -> bool:
        """All cells that have no result. False where one failed."""
        well = True
        for cell in self.endpoint.served:
            self.taken = int(cell["first_row"])
            if spec.is_done(self.endpoint.name, cell["id"]):
                continue
            well &= self._saturation(cell) if cell["mode"] == spec.SATURATION else self._cell(cell)
            spec.report(self.bench)
        return well

    def _cell(self, cell: Cell) -> bool:
        print(f"cell {self.endpoint.name} {cell['id']}", flush=True)
        try:
            found = self._measure(cell)
        except (OSError, ValueError, RuntimeError) as error:
            found = {"status": spec.FAILED, "reason": f"{type(error).__name__}: {error}"}
        spec.write_result(self.endpoint.name, cell["id"], {**cell, **found})
        print(f"cell {self.endpoint.name} {cell['id']}: {found['status']} {found['reason']}".rstrip(), flush=True)
        return found["status"] != spec.FAILED

    def _measure(self, cell: Cell) -> dict[str, Any]:
        if self.bench.warmup:
            self._send(cell, f"{cell['id']}-warmup", self.bench.warmup, cell["seed"] + 1)
        before = prometheus.cached(self.endpoint.engine, self._metrics())
        answers = self._send(cell, cell["id"], cell["num_prompts"], cell["seed"])
        after = prometheus.cached(self.endpoint.engine, self._metrics())
        cached = after.since(before).share if before and after else None
        found = figures(
            answers.requests,
            answers.seconds,
            answers.input_tokens,
            self.bench.objective,
            self.bench.price_usd_per_hour,
        )
        status, reason = self._judge(len(answers.requests), answers.failed, cached)
        short = sum(r.tokens != cell["output_len"] for r in answers.requests)
        if short and status == spec.FINISHED:  # a server that cuts answers, or stops at their end, did less work
            status, reason = (
                spec.PARTIAL,
                f"{short} answers have not the {cell['output_len']} tokens that were asked for",
            )
        return {
            "status": status,
            "reason": reason,
            "answered": len(answers.requests),
            "failed_requests": len(answers.failed),
            "errors": list(dict.fromkeys(answers.failed))[:ERRORS_TOLD],
            "cached_share": cached,
            "seconds": answers.seconds,
            "figures": found,
            "client": answers.client,
            "requests": [[round(r.ttft * 1e3, 3), round(r.latency * 1e3, 3), r.tokens] for r in answers.requests],
        }

    def _judge(self, answered: int, failed: tuple[str, ...], cached: float | None) -> tuple[str, str]:
        if not answered:
            return spec.FAILED, f"no request was answered: {failed[0] if failed else 'none was sent'}"
        if cached is not None and cached > self.bench.most_cached:
            told = f"the prefix cache was warm: {cached:.1%} of the prompts' tokens came out of it"
            return spec.FAILED, f"{told}, at most {self.bench.most_cached:.1%} may"
        if failed:
            return spec.PARTIAL, f"{len(failed)} of {answered + len(failed)} requests failed: {failed[0]}"
        return spec.FINISHED, ""

    def _send(self, cell: Cell, name: str, count: int, seed: int) -> Any:
        """The warm-up is all at once, up to the cell's own concurrency."""
        length, seed = cell["input_len"], seed + self.salt
        if self.bench.dataset:
            texts = file_prompts(self.tokenizer, Path(self.bench.dataset), self.taken, count, length)
            self.taken += count
        else:
            texts = random_prompts(self.tokenizer, count, length, seed)
        load = Load(tuple(texts), cell["output_len"], cell.get("concurrency"), cell.get("rate"))
        load = replace(load, burstiness=float(cell.get("burstiness") or 1.0))
        if name != cell["id"] and load.rate:
            load = replace(load, rate=None)
        return send(self.target, load, spec.PROMPTS / self.endpoint.name / f"{name}.jsonl", seed)

    def _metrics(self) -> list[str]:
        """Of each replica by itself: a proxy would ask one of them."""
        if self.endpoint.spec is None:
            return [self.target.url]
        given = json.loads(Path(self.endpoint.spec).read_text())
        return [f"http://127.0.0.1:{replica['port']}" for replica in given["replicas"]]

    def _saturation(self, cell: Cell) -> bool:
        """One cell for each rate that is tried; then the summary, whose file says that the search has ended."""

        def measure(rate: float) -> float:
            tried = _at_rate(cell, rate)
            if not spec.is_done(self.endpoint.name, tried["id"]) and not self._cell(tried):
                return 0.0
            found = spec.result(self.endpoint.name, tried["id"])
            return float(found["figures"]["goodput_per_s"]) if found else 0.0

        end = saturate(measure, cell["start_rate"], cell["most_rate"])
        best = spec.result(self.endpoint.name, _at_rate(cell, end.best)["id"])
        if best is None or best["status"] == spec.FAILED:
            reason = best["reason"] if best else "no rate was tried"
            spec.write_result(self.endpoint.name, cell["id"], {**cell, "status": spec.FAILED, "reason": reason})
            return False
        told = "" if end.saturated else f"not saturated at {end.rates[-1]:g} requests per second, the most allowed"
        summary = {"rates": end.rates, "goodput": end.goodput, "saturated": end.saturated, "reason": told}
        kept = {k: v for k, v in best.items() if k not in ("id", "mode", "requests", "client")}
        spec.write_result(self.endpoint.name, cell["id"], {**cell, **kept, **summary})
        return True


def _at_rate(cell: Cell, rate: float) -> Cell:
    """Rates double: each has a seed of its own, and enough prompts for the time that the cell shall last."""
    step = round(rate / cell["start_rate"]).bit_length()
    count = max(cell["num_prompts"], round(rate * cell["seconds"]))
    return {
        **cell,
        "id": f"{cell['id']}-r{rate:g}",
        "mode": spec.RATE,
        "rate": rate,
        "num_prompts": count,
        "seed": cell["seed"] + 1000 * step,
    }
