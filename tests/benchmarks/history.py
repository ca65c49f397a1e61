"""How long `runner runs` takes over 10,000 records: `python -m tests.benchmarks.history [COUNT]`.

Whole processes, the median of several, against a bare `python -c pass` in the same minutes; the goal is one second.
The records are copies of a real one's size and shape. The first call has no cache to read.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 7
GOAL_S = 1.0
RECIPES = 50


def record(n: int) -> dict[str, object]:
    """As large as a training run's: 4 kB."""
    return {
        "format": 1,
        "run": f"{20260101 + n // 5000}-{n % 86400:06d}",
        "recipe": f"phase{1 + n % 5}/recipe-{n % RECIPES}",
        "kind": "finetune",
        "profile": "full",
        "title": "A recipe of a benchmark",
        "box": "2xh100",
        "fingerprint": f"{n:064x}",
        "status": "finished" if n % 7 else "failed",
        "started": f"2026-01-01T{n % 24:02d}:{n % 60:02d}:00+00:00",
        "seconds": 3600.0 + n,
        "values": {f"key_{i}": "a value of some length" for i in range(80)},
        "predicted": {"memory.peak_gib": 60.0, "time.hours": 1.0},
        "measured": {"memory.peak_gib": 61.0, "time.hours": 1.1},
        "metrics": {"first_loss": 8.0, "loss": 1.0 + n / 10000},
    }


def write(root: Path, count: int) -> None:
    (root / "recipes").mkdir()
    for n in range(count):
        given = record(n)
        folder = root / "artifacts" / str(given["recipe"]) / "full" / str(given["run"])
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(given, indent=1))


def once(command: list[str], root: Path) -> tuple[float, float]:
    """Seconds of the clock, and of the processor: on a busy machine the second is the program's own."""
    environment = {**os.environ, "RUNNER_PROJECT": str(root), "PYTHONPATH": str(ROOT)}
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=root, env=environment, stdout=-3, stderr=-3, check=True)
    wall, after = time.perf_counter() - start, os.times()
    own = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, own


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    calls = {"the first, no cache": [], "after": [], "after, of one recipe": ["--recipe", "phase1/recipe-5"]}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, count)
        bare = [once([sys.executable, "-c", "pass"], root) for _ in range(ROUNDS)]
        print(f"{count:,} records; goal {GOAL_S:.1f} s")
        print(f"{'python -c pass':<24} {told(bare)}")
        for name, words in calls.items():
            rounds = 1 if name.startswith("the first") else ROUNDS
            taken = [once([sys.executable, "-m", "runner", "runs", *words], root) for _ in range(rounds)]
            print(f"{name:<24} {told(taken)}")


def told(taken: list[tuple[float, float]]) -> str:
    wall, own = (statistics.median(each) for each in zip(*taken, strict=True))
    return f"{wall:>7.3f} s {own:>7.3f} s of processor"


if __name__ == "__main__":
    main()
