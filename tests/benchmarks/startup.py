"""How long a person waits for the commands that must be instant: `python -m tests.benchmarks.startup`.

Wall time of whole processes, the median of several, against a bare `python -c pass` in the same minutes. Machines are
noisy: read the ratio first. The goals are the project's: all recipes in 1.0 s, one in 0.4 s, `--help` in 0.15 s,
a plan in 0.5 s and a search for one that fits in 3 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 11
GOALS_S = {
    ("--help",): 0.15,
    ("validate", "phase4/dpo-13b"): 0.4,
    ("validate",): 1.0,
    ("plan", "phase4/dpo-13b"): 0.5,
    ("plan", "phase4/dpo-13b", "--fit"): 3.0,
    ("plan", "--all"): 2.0,
    ("capacity", "codellama-34b"): 0.5,
    ("show", "phase4/dpo-13b", "--resolved"): 0.5,
    ("list",): 0.5,
    ("graph",): 1.0,
}


def once(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    python = sys.executable
    commands: dict[str, list[str]] = {"python -c pass": [python, "-c", "pass"]}
    commands |= {f"runner {' '.join(words)}": [str(Path(python).parent / "runner"), *words] for words in GOALS_S}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):  # in turn, so that a slow minute falls on all of them
        for name, command in commands.items():
            times[name].append(once(command))
    bare = statistics.median(times["python -c pass"])
    goals = [None, *GOALS_S.values()]
    print(f"{'command':<42} {'median':>8} {'worst':>8} {'x bare':>7} {'goal':>6}")
    for (name, taken), goal in zip(times.items(), goals, strict=True):
        middle = statistics.median(taken)
        told = f"{goal:.2f}" if goal else ""
        print(f"{name:<42} {middle:>7.3f}s {max(taken):>7.3f}s {middle / bare:>7.1f} {told:>6}")


if __name__ == "__main__":
    main()
