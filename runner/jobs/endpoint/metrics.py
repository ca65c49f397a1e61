"""Queue, running requests, tokens per second and KV cache use of all servers, once a second into metrics.jsonl."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .ask import ask
from .spec import Server

EVERY_S = 1.0
# while nothing moves, one line in a minute shows that somebody looks
QUIET_S = 60.0
# our name -> what vLLM, SGLang and text-generation-inference call it
NAMES = {
    "running": ("vllm:num_requests_running", "sglang:num_running_reqs", "tgi_batch_current_size"),
    "queue": ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "tgi_queue_size"),
    "kv_use": ("vllm:kv_cache_usage_perc", "sglang:token_usage"),
    "generated": ("vllm:generation_tokens_total", "sglang:generation_tokens_total", "tgi_request_generated_tokens_sum"),
    "prompt": ("vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "tgi_request_input_length_sum"),
}
_OURS = {theirs: ours for ours, names in NAMES.items() for theirs in names}
_LINE = re.compile(
    rb"^(" + b"|".join(re.escape(name.encode()) for name in _OURS) + rb")(?:\{[^\n]*\})? ([0-9.eE+-]+)", re.M
)


def read_metrics(text: bytes) -> dict[str, float]:
    """By our names; an engine's several cores are added up, their KV use averaged."""
    found: dict[str, list[float]] = {}
    for name, value in _LINE.findall(text):
        found.setdefault(_OURS[name.decode()], []).append(float(value))
    return {name: sum(v) / (len(v) if name == "kv_use" else 1) for name, v in found.items()}


class Poller(threading.Thread):
    """`serving` tells which servers answer now. What it writes are sums over them, KV use their mean."""

    def __init__(self, serving: Callable[[], Sequence[Server]], file: Path) -> None:
        super().__init__(daemon=True, name="metrics")
        self.serving, self.file = serving, file
        self.counted: dict[str, tuple[float, dict[str, float]]] = {}
        self.written: tuple[float, dict[str, float]] = (0.0, {})
        self.stopped = threading.Event()
        self.start()

    def run(self) -> None:
        with self.file.open("a") as out:
            while not self.stopped.wait(EVERY_S):
                row = self.look()
                now = time.time()
                if row and (row != self.written[1] or now - self.written[0] > QUIET_S):
                    self.written = now, row
                    out.write(json.dumps({"time": round(now, 3), **row}) + "\n")
                    out.flush()

    def look(self) -> dict[str, float]:
        rows = [row for server in self.serving() if (row := self._of(server))]
        if not rows:
            return {}
        total = {name: round(sum(row.get(name, 0.0) for row in rows), 3) for name in _SHOWN}
        total["kv_use"] = round(total["kv_use"] / len(rows), 4)
        return total | {"servers": len(rows)}

    def _of(self, server: Server) -> dict[str, float]:
        answer = ask(server, "/metrics", timeout=EVERY_S * 2)
        if answer is None or answer[0] != 200:
            return {}
        found, now = read_metrics(answer[1]), time.monotonic()
        before, counts = self.counted.get(server.name, (now, found))
        self.counted[server.name] = now, found
        for ours, theirs in (("tokens_per_s", "generated"), ("prompt_tokens_per_s", "prompt")):
            new = found.get(theirs, 0.0) - counts.get(theirs, 0.0)
            # a server that was started again counts from zero
            found[ours] = max(0.0, new) / (now - before) if now > before else 0.0
        return found


_SHOWN = ("queue", "running", "tokens_per_s", "prompt_tokens_per_s", "kv_use")
