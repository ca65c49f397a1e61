"""What a step tells while it works, and what it leaves for the next one and for the runner."""

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

from .loading import peak_gib, reserved_gib

METRICS = Path("metrics.jsonl")
MEASURED = Path("measured/rank-0.json")  # read as a training rank's (runner/launch/measured.py)
KIB_PER_GIB = 2**20


def tell(**values: Any) -> None:
    """A line of metrics.jsonl."""
    with METRICS.open("a") as out:
        out.write(json.dumps({"time": time.time(), **{k: v for k, v in values.items() if v is not None}}) + "\n")


def write_json(file: Path, value: Any) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}")
    draft.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    os.replace(draft, file)  # noqa: PTH105


def rss_gib() -> float:
    """The most that this process had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB


def measure() -> None:
    """Peaks of this process, where they are above those of an earlier step."""
    before = json.loads(MEASURED.read_text()) if MEASURED.is_file() else {}
    now = {"peak_allocated_gib": peak_gib(), "peak_reserved_gib": reserved_gib(), "peak_rss_gib": rss_gib()}
    peaks = {key: max(filter(None, (value, before.get(key))), default=None) for key, value in now.items()}
    write_json(MEASURED, {"rank": 0, **{key: value for key, value in peaks.items() if value is not None}})
