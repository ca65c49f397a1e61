"""A server's own metrics: how much of the prompts its prefix cache held."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from dataclasses import dataclass

TIMEOUT_S = 10.0
# engine's counters of prompt tokens looked up in the prefix cache and found there
COUNTERS = {
    "vllm": ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"),
    "sglang": ("sglang:prompt_tokens_total", "sglang:cached_tokens_total"),
}
_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{.*\})?\s+(?P<value>\S+)")


@dataclass(frozen=True)
class Cached:
    """Tokens of prompts that were looked up, and those that were found, since the server started."""

    queries: float
    hits: float

    def since(self, before: Cached) -> Cached:
        return Cached(self.queries - before.queries, self.hits - before.hits)

    @property
    def share(self) -> float:
        return self.hits / self.queries if self.queries else 0.0


def parse(text: str, name: str) -> float | None:
    """A counter's value, all labels together; None where the page has no such counter."""
    found = [float(m["value"]) for line in text.splitlines() if (m := _LINE.match(line)) and m["name"] == name]
    return sum(found) if found else None


def cached(engine: str, urls: list[str]) -> Cached | None:
    """Of all replicas together; None where the engine tells nothing of its prefix cache."""
    names = COUNTERS.get(engine)
    if names is None or not urls:
        return None
    sums = [0.0, 0.0]
    for url in urls:
        try:
            with urllib.request.urlopen(f"{url}/metrics", timeout=TIMEOUT_S) as page:  # noqa: S310 - http only
                text = page.read().decode("utf-8", "replace")
        except (urllib.error.URLError, OSError):
            return None
        for at, name in enumerate(names):
            value = parse(text, name)
            if value is None:
                return None
            sums[at] += value
    return Cached(*sums)
