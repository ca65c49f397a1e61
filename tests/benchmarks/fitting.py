"""How long a scaling law takes: `python -m tests.benchmarks.fitting`.

Whole processes of `runner fit` on 250 runs against a bare `python -c pass` and an import of numpy in the same minutes;
then, in this process, the fast route against L-BFGS from the 4,500 published starts (a sample of them, scaled up). The
goals are the project's: 250 runs in 2 s, 1,000 bootstraps in 60 s, the fast route at least 50 times faster.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.scaling import many_start, varpro
from tests.scaling.synthetic import runs, write_csv

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 7
ONE_IN = 45  # of the published starts


def once(command: list[str]) -> float:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    given = runs("chinchilla", 0, budgets=10, sizes=25)
    with tempfile.TemporaryDirectory() as scratch:
        fit = [sys.executable, "-m", "runner", "fit", str(write_csv(Path(scratch) / "runs.csv", given))]
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], None),
            "python -c 'import numpy'": ([sys.executable, "-c", "import numpy"], None),
            "runner fit, 250 runs": (fit, 2.0),
            "runner fit, 1,000 bootstraps": ([*fit, "--bootstraps", "1000"], 60.0),
            "runner fit --compare": ([*fit, "--compare"], None),
            "runner fit --out": ([*fit, "--out", str(Path(scratch) / "out")], None),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):  # in turn, so that a slow minute falls on all of them
            for name, (command, _) in commands.items():
                times[name].append(once(command))
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':<32} {'median':>8} {'worst':>8} {'x bare':>7} {'goal':>6}")
    for name, (_, goal) in commands.items():
        middle = statistics.median(times[name])
        told = f"{goal:.0f}" if goal else ""
        print(f"{name:<32} {middle:>7.3f}s {max(times[name]):>7.3f}s {middle / bare:>7.1f} {told:>6}")
    at = given.inputs()
    fast_s = statistics.median(_seconds(lambda: varpro.fit(at)) for _ in range(ROUNDS))
    starts = many_start.published_starts()[::ONE_IN]
    slow_s = _seconds(lambda: many_start.fit(at, starts=starts)) * ONE_IN
    print(f"\nfast route {fast_s * 1000:.1f} ms, {len(starts) * ONE_IN:,} starts {slow_s:.1f} s")
    print(f"{slow_s / fast_s:,.0f} times as fast")


def _seconds(work: object) -> float:
    assert callable(work)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
